"""What every verb shares."""

from __future__ import annotations

import gc

import pytest

from edgetts.cli.common import importing


def test_what_is_imported_is_never_searched_for_garbage() -> None:
    before = gc.get_freeze_count()
    kept: list[list[int]] = []
    try:
        with importing():
            assert not gc.isenabled()
            kept += [[n] for n in range(1000)]
        assert gc.isenabled() and gc.get_freeze_count() > before + 1000
        with pytest.raises(KeyboardInterrupt), importing():
            raise KeyboardInterrupt
        assert gc.isenabled()
    finally:
        gc.unfreeze()
