"""Samples of codes with scores of their words: which texts serve, what is heard in one window, and interruptions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edgetts import TTS
from edgetts.pipeline import Pipeline
from edgetts.voices.speaker import Speaker, make_speaker
from recipes.tiny.evaluation.listeners import JUDGE_RATE, Listener
from recipes.tiny.stages import batched_sampling, word_rewards
from recipes.tiny.stages.batched_sampling import sample_codes
from recipes.tiny.stages.policy_step import SAMPLES_FILE, read_samples
from recipes.tiny.stages.word_rewards import Reader, Recognizer, Text, heard_window, run, whole_windows, windows

SAMPLING: Any = {"n": 6, "temperature": 0.85, "top_p": 0.97}
TEXTS = ("Yes.", "The vault was open.", "Room sixty five is beside the harbor.", "Good morning, Harvey!")


@pytest.fixture(scope="module")
def tts() -> TTS:
    return TTS.load("builtin", device="cpu")


@pytest.fixture(scope="module")
def reader(tts: TTS) -> Reader:
    return Reader(Pipeline(tts.pack, torch.device("cpu")))


@pytest.fixture(scope="module")
def speakers(tts: TTS, reader: Reader) -> dict[str, Speaker]:
    return {name: make_speaker(reader.pipeline.networks, tts.voice(name)) for name in list(tts.ready_voices())[:2]}


@pytest.fixture(scope="module")
def texts(tts: TTS) -> list[Text]:
    found = [Text.of(tts.frontend(), text) for text in TEXTS]
    assert None not in found
    return [text for text in found if text is not None]


@pytest.mark.parametrize("text", ["It is 5:30.", "One sentence. Another one.", "", "Ten - eleven"])
def test_texts_whose_words_are_not_those_of_their_tokens_are_left_out(tts: TTS, text: str) -> None:
    assert Text.of(tts.frontend(), text) is None


def test_each_token_has_its_word(texts: list[Text]) -> None:
    text = texts[1]
    assert text.words == ("The", "vault", "was", "open.")
    places = range(-1, len(text.ids) + 1)
    numbers = text.word_of(places)
    assert numbers[0] == numbers[-1] == -1
    assert numbers[1:-1] == sorted(numbers[1:-1]) and set(numbers[1:-1]) == {0, 1, 2, 3}


def test_windows_hold_all_texts_in_their_order(texts: list[Text]) -> None:
    many = texts * 20
    parts = list(windows(many))
    assert [text for part in parts for text in part] == many and len(parts) > 1
    assert all(sum(t.seconds for t in part) <= word_rewards.FILLED_S for part in parts)


class Counting:
    """A recognizer that scores words by their order."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def scores(self, samples: npt.NDArray[np.float32], words: Sequence[str]) -> list[float]:
        self.seconds.append(len(samples) / JUDGE_RATE)
        return [-float(k) for k in range(len(words))]


def test_each_text_gets_the_scores_of_its_words(texts: list[Text]) -> None:
    def sound(seconds: float) -> npt.NDArray[np.float32]:
        return np.zeros(round(seconds * JUDGE_RATE), np.float32)

    recognizer: Any = Counting()
    found = heard_window([recognizer], [sound(2), None, sound(40), sound(3)], texts[::-1])
    assert found == [[0.0, -1.0, -2.0], None, None, [-3.0]]  # the third does not fit into a window
    assert recognizer.seconds == [pytest.approx(word_rewards.LEAD_S + 5 + 2 * word_rewards.PAUSE_S)]
    assert heard_window([recognizer], [None] * 4, texts) == [None] * 4


@pytest.fixture
def short_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_rewards, "N_SAMPLES", 3)
    monkeypatch.setattr(word_rewards, "FILLED_S", 3.0)


def sampled(
    out: Path, reader: Reader, speakers: dict[str, Speaker], texts: Sequence[Text], recognizers: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    out.mkdir(exist_ok=True)
    run(reader, recognizers, speakers, list(speakers), texts, out, 1, seed=0)
    return [json.loads(line) for line in (out / SAMPLES_FILE).read_text().splitlines()]


@pytest.mark.usefixtures("short_run")
def test_an_interrupted_run_continues(
    tmp_path: Path, reader: Reader, speakers: dict[str, Speaker], texts: list[Text]
) -> None:
    whole = sampled(tmp_path / "whole", reader, speakers, texts)
    assert len({line["window"] for line in whole}) > 2
    lines = (tmp_path / "whole" / SAMPLES_FILE).read_text().splitlines(keepends=True)
    at = next(k for k, line in enumerate(whole) if line["window"] == 2)
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / SAMPLES_FILE).write_text("".join(lines[:at]) + lines[at][:40])
    assert sampled(tmp_path / "stopped", reader, speakers, texts) == whole
    assert whole_windows(tmp_path / "none") == 0


@pytest.mark.usefixtures("short_run")
def test_samples_say_their_text_and_can_be_learned_from(
    tmp_path: Path, reader: Reader, speakers: dict[str, Speaker], texts: list[Text]
) -> None:
    recognizer = Counting()
    lines = sampled(tmp_path / "out", reader, speakers, texts, [recognizer])
    assert len(lines) == 3 * len(texts)
    for line in lines:
        assert len(line["words"]) == len(line["codes"])
        assert len(line["said"]) == len(line["heard"]) == 1 + max(line["words"])
    assert np.mean([s for line in lines for s in line["said"]]) > 0.8
    assert all(0.8 < seconds < word_rewards.WINDOW_S for seconds in recognizer.seconds)
    found = read_samples(tmp_path / "out" / SAMPLES_FILE, 0, 1)
    assert all(len(s.advantage) == len(s.codes) + 1 for group in found for s in group)


def test_texts_are_sampled_together_as_they_are_alone(
    reader: Reader, speakers: dict[str, Speaker], texts: list[Text], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without chance, so with a temperature near zero, and in float32."""
    monkeypatch.setattr(batched_sampling, "has_bf16_products", lambda: False)
    monkeypatch.setattr(batched_sampling, "autocast", lambda kind: torch.autocast(kind, enabled=False))
    gpt, speaker = reader.attention.gpt, next(iter(speakers.values()))
    prompts = [
        gpt.prefix(speaker.conditioning_latents, speaker.emotion_vector, torch.tensor([t.ids]))[0].detach()
        for t in texts
    ]
    limits = [400, 400, 400, 20]

    def codes(chosen: Sequence[int]) -> list[list[int] | None]:
        generator = torch.Generator().manual_seed(0)
        return sample_codes(
            gpt, [prompts[k] for k in chosen], [limits[k] for k in chosen], generator, temperature=1e-4, top_p=1.0
        )

    together = codes(range(4))
    assert together == [codes([k])[0] for k in range(4)]
    assert together[3] is None and all(together[k] for k in range(3)), "only the last has too low a limit"


def test_words_that_are_said_are_heard_better_than_others(
    reader: Reader, speakers: dict[str, Speaker], tts: TTS
) -> None:
    pytest.importorskip("faster_whisper", reason="needs a recognizer: pip install -e '.[train]'")
    try:
        recognizer = Recognizer(Listener("tiny", threads=1))
    except SystemExit as error:
        pytest.skip(str(error))
    text = Text.of(tts.frontend(), "The river was open.")
    assert text is not None
    speaker = next(iter(speakers.values()))
    codes = next(
        c for c in reader.codes([speaker], [text], torch.Generator().manual_seed(0), **SAMPLING)[0] if c is not None
    )
    sound = np.concatenate(
        [np.zeros(4000, np.float32), reader.speech(speaker, text, codes), np.zeros(8000, np.float32)]
    )
    said, other = (recognizer.scores(sound, words.split()) for words in ("The river was open.", "The banana was open."))
    assert len(said) == len(other) == 4 and max(said) <= 0
    assert said[1] > other[1] + 3 and said[1] > -3
