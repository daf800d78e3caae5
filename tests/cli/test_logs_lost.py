"""A log that cannot be written stops nothing, wherever stderr goes."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from edgetts.cli.logs import show_logs


def _full() -> TextIO:
    return Path("/dev/full").open("w", encoding="utf-8")


def _without_reader() -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", encoding="utf-8")


def _closed() -> TextIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> Iterator[None]:
    yield
    show_logs(0)


@pytest.mark.parametrize("stderr", [_full, _without_reader, _closed])
def test_a_line_that_cannot_be_written_is_lost_and_stops_nothing(stderr, monkeypatch: pytest.MonkeyPatch) -> None:
    if stderr is _full and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    stream = stderr()
    monkeypatch.setattr(sys, "stderr", stream)
    show_logs(1, with_date=True)
    for number in range(3):
        logging.getLogger("edgetts.server").info("line %d", number)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    logging.getLogger("edgetts.server").info("written")
    assert sys.stderr.getvalue().endswith("edgetts.server: written\n")  # type: ignore[attr-defined]
    if not stream.closed:
        with pytest.raises(OSError):
            stream.close()
