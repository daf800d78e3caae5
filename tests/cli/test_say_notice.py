"""The notice of a slow machine comes before the speech."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgetts.cli.say import live


def test_the_notice_of_a_slow_machine_comes_before_playback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stream:
        sample_rate, speed_notice = 22_050, "Speaking is estimated to take 2.0 s per second of speech."

        def __enter__(self) -> Stream:
            return self

        def __exit__(self, *_: object) -> None: ...

    before: list[str] = []

    def output_chunks(*_: object) -> int:
        before.append(capsys.readouterr().err)
        return 0

    out: Any = SimpleNamespace(to_stdout=False, format=None, target=None)
    monkeypatch.setattr(live, "output_chunks", output_chunks)
    monkeypatch.setattr(live, "speech_of", lambda stream, n: None)
    sink: Any = object()
    for quiet in (False, True):
        live.speak(Stream(), sink, out, quiet=quiet)  # type: ignore[arg-type]
    assert "estimated to take 2.0 s" in before[0] and before[1] == ""
