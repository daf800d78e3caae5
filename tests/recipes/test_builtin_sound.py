"""The built-in voice does not buzz: no lines at multiples of the mel's frame rate, 86 Hz."""

from __future__ import annotations

import pytest

from edgetts import TTS
from recipes.tiny.evaluation.sound_metrics import comb_shares

RECORDINGS = 0.04  # of a band's energy within 1.5 Hz of the lines, in the teacher's recordings
MOST = 2 * RECORDINGS  # a vocoder that hums has 0.33 to 0.41


@pytest.mark.parametrize("voice", ["af_heart", "am_michael"])
def test_no_comb_at_the_frame_rate(voice: str) -> None:
    audio = TTS.load().say("We walked along the river until it was dark.", voice=voice, seed=1)
    shares = comb_shares(audio.samples, audio.sample_rate)
    assert max(shares) < MOST, shares
