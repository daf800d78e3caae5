"""Fresh processes: what is timed is the import and the first byte, and a failure says why."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edgetts.bench import startup
from edgetts.bench.stages import voice_of_length
from edgetts.errors import GenerationError
from edgetts.pack.load import open_pack

ENVIRONMENT = dict(os.environ)


def test_the_first_byte_counts_and_the_process_is_ended() -> None:
    script = "import time, sys; time.sleep(0.3); sys.stdout.buffer.write(b'a'); sys.stdout.flush(); time.sleep(600)"
    elapsed = startup._until_first_byte([sys.executable, "-c", script], ENVIRONMENT)
    assert 0.3 <= elapsed < 60


def test_a_failure_is_told() -> None:
    silent = [sys.executable, "-c", "import sys; print('There is no voice.', file=sys.stderr); sys.exit(1)"]
    with pytest.raises(GenerationError, match=r"wrote no audio: There is no voice\."):
        startup._until_first_byte(silent, ENVIRONMENT)
    with pytest.raises(GenerationError, match=r"did not start: There is no voice\."):
        startup._output(silent, ENVIRONMENT)


@pytest.mark.slow
def test_import_and_first_sound(mini_pack: Path, tmp_path: Path) -> None:
    voice = voice_of_length(open_pack(mini_pack), 0.5)
    found = startup.measure_startup(
        *(mini_pack, voice, "Hello there.", tmp_path), device="cpu", compute="exact", kernel="auto"
    )
    assert 0 < found.import_s < found.first_sound_s
