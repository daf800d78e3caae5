"""Memory of synthesis: the device (`place`), the bytes by stage (`estimate`), options that fit a bound (`budget`)."""

from edgetts.memory.budget import Budget as Budget
from edgetts.memory.estimate import Estimate as Estimate
from edgetts.memory.estimate import Size as Size
from edgetts.memory.estimate import Weights as Weights
from edgetts.memory.estimate import estimate as estimate
from edgetts.memory.estimate import weigh as weigh
from edgetts.memory.place import MIB as MIB
from edgetts.memory.place import DeviceMemory as DeviceMemory
from edgetts.memory.place import Place as Place
from edgetts.memory.place import device_memory as device_memory
from edgetts.memory.place import held_now as held_now
from edgetts.memory.place import parse_size as parse_size
from edgetts.memory.place import shown as shown
