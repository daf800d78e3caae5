"""`python -m edgetts` is `edgetts`."""

from __future__ import annotations

import sys
from pathlib import Path


def _leave_working_folder() -> None:
    """Remove the working folder from `sys.path`, where `-m` puts it first: a `quant.py` in it must not be imported."""
    first = Path(sys.path[0] or ".").resolve() if sys.path else None
    if first == Path.cwd() and first != Path(__file__).resolve().parents[1]:
        del sys.path[0]


if __name__ == "__main__":
    _leave_working_folder()
    from edgetts.cli import main

    main()
