"""A pack whose vocoder works at the frame rate does all that a pack with a BigVGAN does."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from helpers.istft_pack import ISTFT, filled, istft_pack
from helpers.voices import golden_voice
from safetensors.torch import load_file
from typer.testing import CliRunner

from edgetts.api import TTS
from edgetts.backends.numbers import numbers_of
from edgetts.backends.prepare import prepare_vocoder
from edgetts.bench.work import Sizes, stage_works
from edgetts.cli.app import app
from edgetts.compute import Compute
from edgetts.decoding.settings import FlowSettings
from edgetts.errors import UsageError
from edgetts.memory import Place, Size, estimate, weigh
from edgetts.models.istft_vocoder import IstftVocoder
from edgetts.models.vocoder import build_vocoder
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.pipeline import Pipeline
from edgetts.quant.quantize import quantize
from edgetts.voices.speaker import make_speaker
from recipes.tiny.stages.swap_vocoder import INT8_RULES, swap_vocoder

CPU = torch.device("cpu")
QUICK = SynthesisOptions(n_beams=1, n_steps=2, max_codes=20, guards=False)
IDS = (20, 30, 25, 41)


@pytest.fixture(scope="module")
def pack_path(mini_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return istft_pack(mini_pack, tmp_path_factory.mktemp("istft") / "pack")


def test_all_but_the_vocoder_stays(mini_pack: Path, pack_path: Path) -> None:
    before, after = open_pack(mini_pack, verify=True).manifest, open_pack(pack_path, verify=True).manifest
    assert after.encoder_id == before.encoder_id and after.s2mel_id == before.s2mel_id
    assert {n for n in after.files if after.files[n] != before.files[n]} == {"vocoder.safetensors"}
    assert dataclasses.replace(after.model, vocoder=before.model.vocoder) == before.model
    stored = open_pack(pack_path).state_dict("vocoder")
    expected = filled(dataclasses.replace(ISTFT, n_mels=80)).state_dict()
    assert all(torch.equal(stored[name], value) for name, value in expected.items())


def test_what_is_there_is_not_replaced(mini_pack: Path, pack_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        swap_vocoder(mini_pack, pack_path, filled(ISTFT))


def test_a_vocoder_of_other_mels_is_refused(mini_pack: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes 40 mel bands"):
        swap_vocoder(mini_pack, tmp_path / "pack", filled(dataclasses.replace(ISTFT, n_mels=40)))
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize("compute", ["reference", "exact", "fast"])
def test_ways_to_compute(pack_path: Path, compute: Compute) -> None:
    """Half precision is for the network alone: pitch, phase and loudness stay as they are."""
    pack = open_pack(pack_path)
    plain, other = (pack.module("vocoder", lambda: build_vocoder(pack.config.vocoder)) for _ in range(2))
    found, done = prepare_vocoder(other, compute, CPU)
    assert isinstance(plain, IstftVocoder) and isinstance(found, IstftVocoder)
    assert done.dtype == numbers_of(CPU, compute).dit
    for name, parameter in found.named_parameters():
        assert parameter.dtype == (done.dtype if name.startswith(("stack.", "head.")) else torch.float32), name
    mel = torch.randn(1, 80, 60, generator=torch.Generator().manual_seed(0)) * 2 - 5
    with torch.inference_mode():
        exact, waveform = plain(mel), found(mel)
    assert waveform.dtype == torch.float32
    limit = 0.05 if done.dtype != torch.float32 else 1e-6
    assert (waveform - exact).abs().max() < limit * exact.std()
    assert compute != "fast" or done.dtype == torch.float32 or not torch.equal(waveform, exact)


def test_speaks(pack_path: Path, mini_pack: Path) -> None:
    pipeline = Pipeline(open_pack(pack_path), CPU)
    speaker = make_speaker(pipeline.networks, golden_voice(mini_pack))
    spoken = pipeline.speak(speaker, IDS, QUICK, seed=3)
    other = Pipeline(open_pack(mini_pack), CPU)
    same = other.speak(make_speaker(other.networks, golden_voice(mini_pack)), IDS, QUICK, seed=3)
    assert spoken.codes == same.codes  # all but the last stage is the same
    assert spoken.waveform.shape == same.waveform.shape and not torch.equal(spoken.waveform, same.waveform)
    assert spoken.waveform.isfinite().all() and spoken.waveform.std() > 1e-4


def test_say_and_stream(pack_path: Path, mini_pack: Path, tmp_path: Path) -> None:
    """Through the public face; a stream has the length of the whole and sounds all the way."""
    tts = TTS.load(pack_path, device="cpu", home=tmp_path)
    voice = golden_voice(mini_pack)
    said = tts.say("Hello there, my friends.", voice, seed=1, max_codes=60, n_steps=2, guards=False)
    chunks = list(tts.stream("Hello there, my friends.", voice, seed=1, max_codes=60, n_steps=2, guards=False))
    streamed = sum(len(chunk.samples) for chunk in chunks)
    assert streamed == len(said.samples) > 0
    assert float(abs(said.samples).max()) > 0


def test_validate_and_info(pack_path: Path) -> None:
    result = CliRunner().invoke(app, ["validate", str(pack_path), "--component", "vocoder", "--json"])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert rows


def test_work_and_memory(pack_path: Path, mini_pack: Path) -> None:
    """Both are those of this vocoder: its weights, and what it computes."""
    pack = open_pack(pack_path)
    sizes = Sizes(n_prefix=8, n_codes=10, n_prompt=20, n_frames=100, settings=FlowSettings(2, "euler", 0.7))
    size = Size(n_tokens=40, n_codes=200, n_beams=1, prompt_frames=200, n_rows=2, in_parts=False)
    work = stage_works(pack, sizes)["vocoder"]
    weights = load_file(pack_path / "vocoder.safetensors")
    assert work.n_bytes == sum(value.numel() * value.element_size() for value in weights.values())
    vocoder = build_vocoder(pack.config.vocoder)
    linear = sum(p.numel() for name, p in vocoder.named_parameters() if p.dim() > 1 and "dwconv" not in name)
    assert work.flops == pytest.approx(2 * 100 * linear, rel=0.1)
    frames = size.prompt_frames + size.n_codes * pack.config.s2mel.mel_frames_per_code
    wider = dataclasses.replace(ISTFT, pitch=dataclasses.replace(ISTFT.pitch, ffn_dim=2 * ISTFT.pitch.ffn_dim))
    computes: tuple[Compute, ...] = ("reference", "exact", "fast")
    for compute in computes:
        place = Place(4, 2 if compute == "fast" else 4, decodes=True)
        held = weigh(pack, compute, place)
        assert held.resident < weigh(open_pack(mini_pack), compute, place).resident
        found, more = (
            estimate(dataclasses.replace(pack.config, vocoder=vocoder), held, size, compute, place, start=0.0).vocoder
            for vocoder in (ISTFT, wider)
        )
        # The pitch of a whole segment is read at once; the rest is computed in windows.
        assert 3 * 4 * frames * ISTFT.pitch.ffn_dim < more - found < 8 * 4 * frames * ISTFT.pitch.ffn_dim
        assert 256 * 4 * ISTFT.frames_per_mel * ISTFT.n_fft * 6 < found < 40e6


def test_quantized_like_the_rest(pack_path: Path, tmp_path: Path) -> None:
    """A recipe stores it in half precision; int8 matrices load and speak, too."""
    quantize(pack_path, tmp_path / "half", "laptop-8gb", measure=False)
    half = open_pack(tmp_path / "half")
    assert half.manifest.components["vocoder"].dtype == "float16"
    int8 = swap_vocoder(pack_path, tmp_path / "int8", filled(ISTFT), rules=INT8_RULES)
    groups = open_pack(int8).manifest.components["vocoder"].schemes
    n_matrices = 2 * ISTFT.n_layers + 1
    assert [(group.scheme, len(group.tensors)) for group in groups] == [("int8_channel", n_matrices)]
    mel = torch.randn(1, 80, 40, generator=torch.Generator().manual_seed(0)) * 2 - 5
    with torch.inference_mode():
        plain = filled(ISTFT)
        frames = plain.with_pitch(mel)  # of random weights, which have no peak to find: rounding may turn another up
        exact = plain.render(frames)
        for pack in (half, open_pack(int8)):
            vocoder = pack.module("vocoder", lambda: build_vocoder(ISTFT))
            error = (vocoder.render(frames) - exact).square().mean().sqrt() / exact.std()
            assert 0 < float(error) < 0.05
            assert vocoder(mel).isfinite().all()
