"""A daemon for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.daemon import Running, home_of, running

from edgetts.server.settings import Limits


@pytest.fixture(scope="module")
def daemon(mini_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = home_of(tmp_path_factory.mktemp("home"), mini_pack)
    limits = Limits(streams=2, waiting=2, text_characters=20_000)
    with running(home, mini_pack, limits=limits, stop_s=1.0) as daemon:
        yield daemon
