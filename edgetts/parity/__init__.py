"""Does a pack compute what it should? `golden`: what upstream computed; `paths`: the fast way of this machine against
the plain one; `row`: one comparison, and the tolerances."""

from edgetts.parity.golden import STAGES, validate
from edgetts.parity.paths import PATHS, compare_paths
from edgetts.parity.row import TOLERANCES, Row

__all__ = ["PATHS", "STAGES", "TOLERANCES", "Row", "compare_paths", "validate"]
