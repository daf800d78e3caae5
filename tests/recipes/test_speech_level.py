"""A pack gets one level for all voices: from its own speech, whatever levels it had before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgetts import TTS
from edgetts.errors import EdgeTTSError, GenerationError, UsageError
from edgetts.pack.entries import SPEECH_LEVEL_FILE
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.voices.level import SpeechLevel
from edgetts.voices.voice import Voice
from recipes.tiny.stages import speech_level

SENTENCES = [
    "The children were asleep when the train came in.",
    "Nobody knew where the old key had been hidden.",
    "We walked along the river until it was dark.",
    "A bird sat on the fence and began to sing.",
]


def levels(pack: Path) -> dict[str, float]:
    opened = open_pack(pack, verify=True)
    found = {name: Voice.load(opened.file(file)).level_db for name, file in opened.manifest.ready_voices().items()}
    return {name: level for name, level in found.items() if level is not None}


@pytest.mark.parametrize("error", [UsageError("512 is not a code."), GenerationError("Words are missing.")])
def test_a_model_that_cannot_speak_keeps_its_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: EdgeTTSError
) -> None:
    """An untrained one, as of the quick run of the recipe."""

    def say(*_: object, **__: object) -> None:
        raise error

    pack = tmp_path / "pack"
    shutil.copytree(builtin_pack(), pack)
    monkeypatch.setattr(TTS, "say", say)
    assert not speech_level.add(pack, SENTENCES)
    assert levels(pack) == levels(builtin_pack())


def test_a_pack_gets_its_level(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(builtin_pack(), pack)
    assert not speech_level.add(pack, SENTENCES[:1])  # one utterance for four
    assert (pack / SPEECH_LEVEL_FILE).read_bytes() == (builtin_pack() / SPEECH_LEVEL_FILE).read_bytes()
    assert speech_level.add(pack, SENTENCES, db=-28.0)
    found = SpeechLevel.of_pack(open_pack(pack))
    assert found is not None and found.level_db == -28.0
    assert [len(row) for row in found.codes] == [speech_level.N_CODES] * speech_level.N_UTTERANCES
    shipped, made = levels(builtin_pack()), levels(pack)
    assert len(made) == 4 and set(shipped) == set(made)
    assert max(shipped.values()) - min(shipped.values()) > 3
    for name, level in made.items():  # of four sentences instead of 32, and not of the leveled speech
        assert level == pytest.approx(shipped[name], abs=1.5)


def test_the_utterances_that_favor_no_voice_are_chosen() -> None:
    means = {"a": -20.0, "b": -18.0}
    even = [{"a": mean - 1.0, "b": mean + 1.0} for mean in (-21.0, -17.0, -25.0, -19.5)]  # off, and by the same
    odd = [{"a": -25.0, "b": -15.0}, {"a": -14.0, "b": -23.0}, {"a": -30.0, "b": -18.0}]
    chosen = speech_level.fairest([odd[0], even[0], even[1], odd[1], even[2], odd[2], even[3]], means)
    assert chosen == (1, 2, 4, 6)
    off = [{"a": mean - 1.0, "b": mean + 1.0} for mean in (-22.0, -19.5, -21.5, -22.0, -18.5, -19.0, -19.2)]
    assert speech_level.fairest(off, means) == (1, 4, 5, 6)  # all are as fair
