"""The vocoder trained elsewhere: on a GPU by one command, and for a pack with a BigVGAN from what that renders."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers.vocoder_corpus import CPU, SMALL, harmonics, make_corpus, time_of

from edgetts.errors import UsageError
from edgetts.models import registry
from edgetts.pack.config import IstftVocoderConfig
from edgetts.pack.load import open_pack
from edgetts.pipeline import Pipeline
from recipes.tiny import dims, fresh_vocoder
from recipes.tiny.common import Run
from recipes.tiny.corpus import bundle, pitch, vocoded
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.mel import mel_of
from recipes.tiny.stages import swap_vocoder, train_pitch, train_vocoder_istft, vocoder_gpu
from recipes.tiny.stages.train_vocoder_istft import STAGE, with_pitch_net


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("buzzes"))


THERE = "import sys; sys.modules.update(dict.fromkeys({blocked!r}))\nfrom recipes.tiny.stages.vocoder_gpu import main; main()"
BLOCKED = ("soundfile", "soxr", "scipy", "safetensors", "matplotlib", "jinja2", "sentencepiece", "onnxruntime")


def test_a_gpu_run_from_bundle_to_work_folder(corpus: Corpus, tmp_path: Path) -> None:
    """Packed, trained for two steps with torch, NumPy and rich alone, taken back, and then a vocoder that makes sound."""
    mels = [mel_of(corpus.get("wav", i).float()[None] / 32768)[0].T.half().numpy() for i in range(len(corpus))]
    corpus.put("predicted", [mel if i in (0, 5) else mel[:0] for i, mel in enumerate(mels)])
    try:
        n_all = bundle.pack(corpus, tmp_path / "all", megabytes=100)
        assert n_all == len(corpus.training())
        n_few = bundle.pack(corpus, tmp_path / "few", megabytes=1.5)
        assert 1 <= n_few < n_all and (tmp_path / "few" / bundle.SPEECH).stat().st_size <= 1.5e6
        with pytest.raises(ValueError, match="no recording fits"):
            bundle.pack(corpus, tmp_path / "none", megabytes=0.001)
    finally:
        (corpus.folder / "predicted.npy").unlink()
    again = bundle.unpack(tmp_path / "all", tmp_path / "cache")
    order = sorted(np.random.default_rng(0).permutation(corpus.training()).tolist(), key=lambda i: i not in (0, 5))
    assert set(order[:2]) == {0, 5}
    for k in (0, 17):
        i = order[k]
        assert torch.equal(again.get("wav", k), corpus.get("wav", i)[: again.length("wav", k)])
        assert (again.get("pitch", k) - corpus.get("pitch", i)).abs().max() <= bundle.PITCH_STEP
        mel = torch.from_numpy(mels[i]).float().clamp(-13.9, 3.8)
        assert again.length("predicted", k) == (len(mel) if k == 0 else 0)
        if k == 0:
            assert (again.get("predicted", k) - mel).abs().max() < 0.6 * bundle.MEL_STEP

    command = ["train", "--bundle", tmp_path / "all", "--out", tmp_path / "result", "--minutes", "1", "--dry-run"]
    subprocess.run([sys.executable, "-c", THERE.format(blocked=BLOCKED), *map(str, command)], check=True, timeout=300)
    files = {p.name: p.stat().st_size for p in (tmp_path / "result").iterdir()}
    assert set(files) == {"pitch.pt", "vocoder_istft.pt", "pitch.jsonl", "vocoder_istft.jsonl"}
    assert max(files.values()) < 16e6
    lines = [json.loads(line) for line in (tmp_path / "result" / f"{STAGE}.jsonl").read_text().splitlines()]
    assert "mel" in lines[-1]["eval"]
    vocoder_gpu.take(tmp_path / "result", tmp_path / "work")
    vocoder = with_pitch_net(tmp_path / "work")
    sent = torch.load(tmp_path / "result" / f"{STAGE}.pt", weights_only=True)
    assert torch.equal(vocoder.head.weight, sent["head.weight"])
    with torch.inference_mode():
        made = vocoder(torch.randn(1, dims.N_MELS, 30) - 5)
    assert made.shape == (1, 30 * dims.HOP) and made.std() > 0
    run = Run(tmp_path / "work", STAGE, 1.0, {"vocoder": fresh_vocoder.fresh()}, {})  # and training goes on from it
    assert torch.equal(run.modules["vocoder"].state_dict()["head.weight"], sent["head.weight"])
    (tmp_path / "work" / STAGE / "last.pt").touch()
    with pytest.raises(SystemExit, match="training would resume from it"):
        vocoder_gpu.take(tmp_path / "result", tmp_path / "work")


def test_a_bundle_of_another_rate_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    sf.write(folder / "a.wav", harmonics(200 * time_of(0.5)), 24_000)
    made = pitch.cache(folder, tmp_path / "cache", workers=1)
    bundle.pack(made, tmp_path / "bundle")
    with pytest.raises(ValueError, match="1 channels at 24000 Hz; needed is mono at 22050 Hz"):
        bundle.unpack(tmp_path / "bundle", tmp_path / "again")
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(ValueError, match="cannot be decoded"):
        bundle.Decoder(tmp_path / "bundle" / bundle.LIBRARY)(tmp_path / "text.wav")


def test_a_frame_rate_vocoder_for_a_pack_with_a_bigvgan(corpus: Corpus, mini_pack: Path, tmp_path: Path) -> None:
    """From a pack's own vocoder as the teacher to a pack that has the trained one instead."""
    opened = open_pack(mini_pack)
    made = vocoded.make(opened, corpus, tmp_path / "vocoded", limit=6, compute="exact")
    assert [item["name"] for item in made.items] == [corpus.items[i]["name"] for i in (0, 8, 16, 24, 32, 40)]
    teacher = registry.VOCODER.load(opened)
    wave = corpus.get("wav", 8).float() / 32768
    wave = wave[: len(wave) // dims.HOP * dims.HOP]
    with torch.inference_mode():
        wanted = teacher(mel_of(wave[None])).flatten()
    assert (made.get("wav", 1).float() / 32767 - wanted.clamp(-1, 1)).abs().max() < 2e-4
    assert made.length("pitch", 1) == len(wave) // dims.HOP

    both = [corpus, made]
    train_pitch.train(tmp_path / "work", both, 0.002)
    train_vocoder_istft.train(tmp_path / "work", both, 0.002, plan=SMALL)
    new = swap_vocoder.swap_vocoder(mini_pack, tmp_path / "new.pack", with_pitch_net(tmp_path / "work"))
    assert isinstance(open_pack(new).config.vocoder, IstftVocoderConfig)
    assert Pipeline(open_pack(new), CPU).waveform(mel_of(wave[None])).shape[-1] == len(wave)


def test_a_long_recording_is_rendered_in_parts(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    class Frames(torch.nn.Module):
        """Each sample is the first band of its frame, averaged over the neighbors that a real one sees."""

        def forward(self, mel: torch.Tensor) -> torch.Tensor:
            seen = torch.nn.functional.avg_pool1d(mel[:, :1], 5, 1, 2, count_include_pad=False)
            return seen.repeat_interleave(dims.HOP, -1) / 100

    wave = corpus.get("wav", 3).float() / 32768
    wave = wave[: len(wave) // dims.HOP * dims.HOP]
    whole = vocoded.rendered(Frames(), wave)
    monkeypatch.setattr(vocoded, "MAX_FRAMES", 17)
    assert len(whole) == len(wave) and np.array_equal(vocoded.rendered(Frames(), wave), whole)
    monkeypatch.setattr(vocoded, "OVERLAP_FRAMES", 0)
    assert not np.array_equal(vocoded.rendered(Frames(), wave), whole)


def test_a_pack_of_another_spectrogram_is_refused(mini_pack: Path) -> None:
    opened = open_pack(mini_pack)
    model = dataclasses.replace(opened.config, audio=dataclasses.replace(dims.AUDIO, hop_length=300))
    opened.manifest = dataclasses.replace(opened.manifest, model=model)
    with pytest.raises(UsageError, match="hop_length=300.*give a pack with the published one"):
        vocoded.check_spectrogram(opened)
