"""Logging: one tree under `edgetts`, silent in a program that does not ask, on stderr with -v."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import Edgetts

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def say(edgetts: Edgetts, mini_pack: Path, voice_file: Path, tmp_path: Path):
    def run(*flags: str) -> str:
        out = tmp_path / "out.wav"
        options = (
            "--pack",
            mini_pack,
            "--voice",
            voice_file,
            "-o",
            out,
            "--max-codes",
            20,
            "--steps",
            1,
            "--no-guards",
        )
        done = edgetts(*flags, "say", "Hello.", *options, "--quiet")
        assert done.exit_code == 0, done.stderr
        return done.stderr

    return run


def test_verbose_shows_what_is_done_and_twice_the_details(say, mini_pack: Path) -> None:
    told = say("-v")
    assert f"edgetts.pack.load: opened pack {mini_pack}" in told
    assert "INFO" in told and "DEBUG" not in told
    assert "DEBUG edgetts.pack.load: loaded gpt" in say("-vv")
    assert say("--verbose").count("opened pack") == told.count("opened pack")  # one handler, however often it is called


def test_quiet_without_verbose(say) -> None:
    assert say("-v") != ""
    assert say() == ""


def test_every_logger_hangs_in_one_tree() -> None:
    code = (
        "import logging, edgetts, edgetts.api, edgetts.audio.playback.buffered, edgetts.quant.hub\n"
        "names = [n for n in logging.root.manager.loggerDict if n.split('.')[0] in ('edgetts', 'quant', 'recipes')]\n"
        "assert {n.split('.')[0] for n in names} == {'edgetts'} and len(names) > 4, names\n"
        "logging.getLogger('edgetts.pack.load').error('said to nobody')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # the root's handler of last resort has nothing to say


def test_verbose_behind_the_verb_is_told_its_place(edgetts: Edgetts) -> None:
    done = edgetts("info", "--verbose")
    assert done.exit_code == 2
    assert "before the verb: `edgetts --verbose info" in done.stderr


def test_a_program_may_listen(caplog: pytest.LogCaptureFixture, edgetts: Edgetts, mini_pack: Path) -> None:
    from edgetts.pack.load import open_pack

    with caplog.at_level(logging.INFO, logger="edgetts"):
        open_pack(mini_pack)
    assert [r.name for r in caplog.records] == ["edgetts.pack.load"]
