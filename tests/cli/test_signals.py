"""A signal ends a verb without a trace, wherever it comes."""

from __future__ import annotations

import os

import pytest
from command import run_edgetts


@pytest.mark.parametrize(("signal", "code"), [(SystemExit(143), 143), (KeyboardInterrupt(), 130)])
def test_a_signal_while_a_lock_is_taken_back_ends_without_a_trace(
    monkeypatch: pytest.MonkeyPatch, signal: BaseException, code: int
) -> None:
    def wait(*_: object, **__: object) -> None:
        try:
            raise signal
        finally:  # as `Condition.wait` does it when it is interrupted early
            raise RuntimeError("cannot release un-acquired lock")

    monkeypatch.setattr("edgetts.cli.say.request.words", wait)
    result = run_edgetts("say", "Hi", "-o", os.devnull, "--format", "wav")
    assert result.exit_code == code and not result.output
