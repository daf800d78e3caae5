"""Validation of a pack. `golden`: against upstream's numbers; `paths`: this machine's fast paths against plain fp32;
`row`: one comparison, and the tolerances."""

from edgetts.parity.golden import validate
from edgetts.parity.paths import PATHS, compare_paths
from edgetts.parity.row import TOLERANCES, Row

__all__ = ["PATHS", "TOLERANCES", "Row", "compare_paths", "validate"]
