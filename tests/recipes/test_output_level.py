"""The gain of the vocoder, and that the shipped voice is not cut off at full scale."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from edgetts import TTS
from edgetts.errors import PackError
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pipeline import Pipeline
from recipes.tiny.evaluation.evaluate import CLIPPED
from recipes.tiny.stages.output_level import scale_pack, scaled


def test_the_waveform_is_scaled_and_nothing_else(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(builtin_pack(), pack)
    mel = torch.full((1, 80, 60), -4.0) + torch.randn(1, 80, 60, generator=torch.Generator().manual_seed(0))

    def wave() -> np.ndarray:
        rendered: np.ndarray = Pipeline(open_pack(pack), torch.device("cpu"), compute="exact").waveform(mel).numpy()
        return rendered

    before = wave()
    scale_pack(pack, -6.0)
    assert np.abs(before).max() > 0.01
    assert np.allclose(wave(), before * 10 ** (-6 / 20), atol=1e-5)


def test_another_vocoder_is_refused() -> None:
    with pytest.raises(PackError, match="istft"):
        scaled({"conv_pre.bias": torch.zeros(3)}, -1.0)


@pytest.mark.parametrize("voice", ["bf_emma", "am_michael", "bm_george"])
def test_the_loudest_voices_are_not_cut_off(voice: str) -> None:
    """Seeds with which the voices reached full scale at the level of before."""
    tts = TTS.load()
    for text in ("The farmer keeps sheep, cows and many chickens.", "We need a bigger box for all these books."):
        samples = np.abs(tts.say(text, voice, seed=3).samples)
        assert (samples >= CLIPPED).sum() <= 1 and samples.max() > 0.2
