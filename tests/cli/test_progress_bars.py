"""Progress on stderr: bars on a terminal, that are erased at the end; else lines, where they are asked for."""

from __future__ import annotations

import io
import sys

import pytest

from edgetts.cli.common import ProgressBar, TerminalBar
from edgetts.cli.download import ByteProgressBar


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen_of(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Not a fixture: pytest puts its own stderr back before the test."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    shown = Screen()
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


def test_a_stage_and_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch)
    with ProgressBar() as progress:
        assert screen.getvalue() == ""  # nothing before the first progress
        for share in (0.0, 0.5, 1.0, 1.5):
            progress("a stage\nof [two] lines, whose name is longer than the line is wide", share)
            assert not progress._bar.finished  # another stage may follow
    assert "a stage of [two] lines, whose name is lo " in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K")


def test_bytes_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch)
    with ByteProgressBar(enabled=True, lines=True) as progress:
        progress("gpt.safetensors of owner/model", 3 << 20, 12 << 20)
        progress("gpt.safetensors of owner/model", 6 << 20, 12 << 20)
    assert "gpt.safetensors " in screen.getvalue() and "owner/model" not in screen.getvalue()
    assert "6.0/12.0 MiB" in screen.getvalue() and "Fetching" not in screen.getvalue()


@pytest.mark.parametrize("lines", [True, False])
def test_a_pipe_gets_lines_where_they_are_asked_for(lines: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as shares, ByteProgressBar(enabled=True, lines=lines) as sizes:
        for done in (1, 2):
            shares("a stage", done / 2)
            sizes("a.bin of owner/model", done, 2)
    assert capsys.readouterr() == ("", "note: Fetching a.bin of owner/model.\n" if lines else "")


def test_who_wants_it_quiet_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch)
    with ProgressBar(enabled=False) as shares, ByteProgressBar(enabled=False) as sizes:
        shares("a stage", 0.5)
        sizes("a.bin", 1, 2)
    assert screen.getvalue() == ""


def test_a_bar_that_does_not_say_what_stands_in_it_is_not_made() -> None:
    with pytest.raises(TypeError, match="_columns"):
        TerminalBar()  # type: ignore[abstract]
