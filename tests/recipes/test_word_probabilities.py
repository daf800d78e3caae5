"""The comparison of packs by the probabilities of words: which readings are compared, and what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from rich.console import Console

from edgetts import TTS
from edgetts.pipeline import Pipeline
from edgetts.voices.speaker import make_speaker
from recipes.tiny.evaluation import word_probabilities
from recipes.tiny.evaluation.word_probabilities import Reading, difference, read, table
from recipes.tiny.stages import word_rewards
from recipes.tiny.stages.policy_step import LEAST_HEARD
from recipes.tiny.stages.word_rewards import Reader, Text


class Counting:
    """Every word is less probable than the one before, the first has -`start`."""

    def __init__(self, start: float) -> None:
        self.start = start

    def scores(self, samples: npt.NDArray[np.float32], words: Sequence[str]) -> list[float]:
        assert len(samples)
        return [-self.start - k for k in range(len(words))]


def test_every_text_is_read_once_in_the_voices_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_rewards, "FILLED_S", 2.0)  # one text per window
    tts = TTS.load("builtin", device="cpu")
    reader = Reader(Pipeline(tts.pack, torch.device("cpu")))
    texts = [text for text in (Text.of(tts.frontend(), t) for t in ("Yes.", "Good morning.", "The vault.")) if text]
    speakers = [make_speaker(reader.pipeline.networks, tts.voice(name)) for name in list(tts.ready_voices())[:2]]
    spoken_in: list[Any] = []
    speech = reader.speech

    def noted(speaker: Any, text: Text, codes: Sequence[int]) -> npt.NDArray[np.float32]:
        spoken_in.append((next(k for k, s in enumerate(speakers) if s is speaker), text.words))
        return speech(speaker, text, codes)

    monkeypatch.setattr(reader, "speech", noted)
    options: dict[str, Any] = {}
    codes = reader.codes

    def sampled(*args: Any, **given: Any) -> Any:
        options.update(given)
        return codes(*args, **given)

    monkeypatch.setattr(reader, "codes", sampled)
    heard: Any = [Counting(0.5), Counting(8.5)]
    found = read(reader, speakers, heard, texts, seed=0)
    assert spoken_in == [(0, ("Yes.",)), (1, ("Good", "morning.")), (0, ("The", "vault."))]
    assert options == {"n": 1, "temperature": reader.options.temperature, "top_p": reader.options.top_p}
    assert {k: v.tolist() for k, v in found.scores.items()} == {0: [-4.5], 1: [-4.5, -5.5], 2: [-4.5, -5.5]}
    assert len(found.spoken) == 5 and found.n_codes > 20
    worse: Any = [Counting(9.0)]
    assert set(read(reader, speakers, worse, texts, seed=0).of_words) == {LEAST_HEARD}


def reading(scores: dict[int, list[float]], spoken: list[float], n_codes: int = 0) -> Reading:
    return Reading({k: np.array(v) for k, v in scores.items()}, np.array(spoken), n_codes)


def test_only_texts_that_both_readings_have_are_compared() -> None:
    one, other = reading({0: [-1.0, -2.0], 1: [-5.0]}, []), reading({0: [-0.5, -1.0], 2: [0.0]}, [])
    gain, error = difference(one, other)
    assert gain == pytest.approx(0.75) and error == pytest.approx(0.25 / 2**0.5)
    assert difference(one, one) == (0.0, 0.0)
    assert difference(other, one)[0] == pytest.approx(-0.75)


def test_the_table_compares_with_the_first_pack() -> None:
    readings = {
        "before": reading({0: [-1.0, -3.0], 1: [0.0, -2.0]}, [1.0, 0.6, 1.0, 1.0], 31),
        "after": reading({0: [-1.0, -1.0], 1: [0.0, -2.0]}, [1.0, 1.0, 1.0, 0.9], 29),
    }
    console = Console(width=120, record=True)
    console.print(table(readings))
    before, after = (line for line in console.export_text().splitlines() if "before" in line or "after" in line)
    assert all(x in before for x in ("4", "-1.500", "31")) and "±" not in before
    assert (
        before.count("25.0%") == 2
        and after.count("0.0%") == 2
        and all(x in after for x in ("4", "-1.000", "+0.500 ± 0.433", "0.0%", "29"))
    )


def test_sets_without_a_line_that_can_be_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set.txt").write_text("It is 5:30.\nOne sentence. Another one.\n")
    monkeypatch.setattr(word_probabilities, "KINDS", ())
    pack = str(TTS.load("builtin", device="cpu").pack.path)
    monkeypatch.setattr("sys.argv", ["word_probabilities", "--pack", pack, "--set", str(tmp_path / "set.txt")])
    with pytest.raises(SystemExit) as stopped:
        word_probabilities.main()
    assert stopped.value.code == 2 and "None of the 2 lines can be read" in capsys.readouterr().err
