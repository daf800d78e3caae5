"""Where the tests find their data, and the larger reference data when it is at hand."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
DATA = TESTS / "data"
GOLDEN = DATA / "golden" / "mini"
DATA_25 = DATA / "v25"
GOLDEN_25 = DATA_25 / "golden"

_shared = TESTS.parents[1] / "shared"
SHARED: Path | None = _shared if (_shared / "reference" / "README.md").is_file() else None
