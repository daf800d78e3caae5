"""The built-in voice does not buzz: no lines at multiples of the mel's frame rate, 86 Hz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgetts import TTS
from recipes import tiny as recipe
from recipes.tiny.evaluation.sound_metrics import comb_shares

MOST = 0.07  # of a band's energy near the lines; the teacher's recordings have 0.04, a vocoder that hums 0.33 to 0.41
# Many: a voice of 172 Hz may by chance stay on a multiple of the frame rate for some of them.
SENTENCES = (
    "We walked along the river until it was dark.",
    "The children were asleep when the train came in.",
    "Nobody knew where the old key had been hidden.",
    *(Path(recipe.__file__).parent / "sentences.txt").read_text(encoding="utf-8").splitlines()[:9],
)


@pytest.mark.parametrize("voice", ["af_heart", "am_michael"])
def test_no_comb_at_the_frame_rate(voice: str) -> None:
    tts = TTS.load()
    spoken = [tts.say(sentence, voice=voice, seed=1) for sentence in SENTENCES]
    shares = np.mean([comb_shares(audio.samples, audio.sample_rate) for audio in spoken], axis=0)
    assert max(shares) < MOST, shares
