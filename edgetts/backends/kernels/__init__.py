"""Kernels for products with quantized weights, one file per library.

base            the `Kernel` interface, and the reference that works everywhere
cpu             edgetts' native kernels
aten            PyTorch's int4 and int8 products, CPU and CUDA
triton_*        Triton kernels for CUDA; importing one needs Triton
nf4             bitsandbytes
ao              torchao: int8 by int8 on CUDA, packed integers on ARM
registry        tries the kernels in order and chooses one per weight
"""

from edgetts.backends.kernels.ao import W8A8 as W8A8
from edgetts.backends.kernels.ao import dit_linear as dit_linear
from edgetts.backends.kernels.base import DEQUANTIZED as DEQUANTIZED
from edgetts.backends.kernels.base import Epilogue as Epilogue
from edgetts.backends.kernels.base import Kernel as Kernel
from edgetts.backends.kernels.base import relative_error as relative_error
from edgetts.backends.kernels.registry import AUTO as AUTO
from edgetts.backends.kernels.registry import KERNELS as KERNELS
from edgetts.backends.kernels.registry import KernelChoice as KernelChoice
from edgetts.backends.kernels.registry import Trial as Trial
from edgetts.backends.kernels.registry import measure_kernel as measure_kernel
from edgetts.backends.kernels.registry import try_kernel as try_kernel
from edgetts.backends.kernels.registry import wanted_kernel as wanted_kernel
