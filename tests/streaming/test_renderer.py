"""Parts of a segment, with a vocoder of either kind: its reach, windows that cannot be heard, what is handed from part to part."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.istft_pack import istft_pack
from helpers.voices import golden_voice

from edgetts import pipeline as pipeline_module
from edgetts.decoding.settings import FlowSettings
from edgetts.models.vocoder import frames_of, reach, render
from edgetts.pack.config import IstftVocoderConfig
from edgetts.pack.load import open_pack
from edgetts.pipeline import Pipeline
from edgetts.streaming.renderer import Seams, SegmentRenderer
from edgetts.voices.speaker import Speaker, make_speaker

CODES = [int(c) for c in torch.randint(0, 8000, (70,), generator=torch.Generator().manual_seed(1))]
IDS = (20, 30, 25, 41)
FLOW = FlowSettings(n_steps=2, solver="euler", cfg_rate=0.7)


@pytest.fixture(scope="module", params=["bigvgan", "istft"])
def pipeline(request: pytest.FixtureRequest, mini_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    pack = mini_pack if request.param == "bigvgan" else istft_pack(mini_pack, tmp_path_factory.mktemp("istft") / "pack")
    return Pipeline(open_pack(pack), torch.device("cpu"), compute="exact")


@pytest.fixture(scope="module")
def speaker(pipeline: Pipeline, mini_pack: Path) -> Speaker:
    return make_speaker(pipeline.networks, golden_voice(mini_pack), prompt_s=60 / pipeline.config.audio.frame_rate)


def renderer(pipeline: Pipeline, speaker: Speaker, **seams: int) -> SegmentRenderer:
    return SegmentRenderer(pipeline, speaker, pipeline.feature_pass(pipeline.prompt(speaker, IDS)), 5, Seams(**seams))


@torch.inference_mode()
def test_nothing_beyond_its_reach_changes_the_vocoder(pipeline: Pipeline) -> None:
    around, hop = reach(pipeline.config.vocoder), pipeline.config.audio.hop_length
    n_frames = 2 * around + 21
    mel = torch.randn((1, pipeline.config.audio.n_mels, n_frames), generator=torch.Generator().manual_seed(0))
    middle = n_frames // 2
    frames = frames_of(pipeline.vocoder, mel)
    changed = frames.clone()
    changed[:, : mel.shape[1], middle] += 5.0
    different = (render(pipeline.vocoder, frames) - render(pipeline.vocoder, changed))[0].abs() > 1e-6
    places = different.nonzero()[:, 0]
    assert int(places.min()) >= (middle - around) * hop
    assert int(places.max()) < (middle + around + 1) * hop
    # And it is no wild guess: what is near does change.
    assert int(places.max()) - int(places.min()) > around * hop / 2


@torch.inference_mode()
def test_windows_cannot_be_heard(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    mel = torch.randn((1, pipeline.config.audio.n_mels, 150), generator=torch.Generator().manual_seed(0))
    whole = pipeline.vocoder(mel)[0]
    monkeypatch.setattr(pipeline_module, "VOCODER_WINDOW", 32)
    assert (pipeline.waveform(mel) - whole).abs().max() < 1e-4
    hop = pipeline.config.audio.hop_length
    assert (pipeline.waveform(mel, 57) - whole[57 * hop :]).abs().max() < 1e-4


def test_all_codes_at_once_need_no_measures(pipeline: Pipeline, speaker: Speaker) -> None:
    whole = renderer(pipeline, speaker).render(CODES, FLOW, last=True)
    other = renderer(pipeline, speaker, context=5, provisional=3, mel_fade=1, wave_fade=1).render(
        CODES, FLOW, last=True
    )
    assert torch.equal(whole, other)


@pytest.mark.parametrize("sizes", [(20, 50, 70), (4, 8, 30, 31, 70), (35, 70, 70)])
def test_parts_have_the_length_of_the_whole(pipeline: Pipeline, speaker: Speaker, sizes: tuple[int, ...]) -> None:
    """Also when the first parts are too small to give anything out, and when the end comes without a new code."""
    parts, maker = [], renderer(pipeline, speaker)
    for i, size in enumerate(sizes):
        parts.append(maker.render(CODES[:size], FLOW, last=i == len(sizes) - 1))
    hop = pipeline.config.audio.hop_length
    given = 0
    for size, part in zip(sizes[:-1], parts, strict=False):
        given += len(part)
        assert given == max(0, pipeline.n_frames(size) - Seams().held) * hop
    assert sum(map(len, parts)) == pipeline.n_frames(len(CODES)) * hop


def test_the_end_may_come_late(pipeline: Pipeline, speaker: Speaker) -> None:
    """Whether a part is the last is known before or after it is made: the sound is the same."""
    known = renderer(pipeline, speaker).render(CODES, FLOW, last=True)
    maker = renderer(pipeline, speaker)
    late = torch.cat([maker.render(CODES, FLOW, last=False), maker.render(CODES, FLOW, last=True)])
    assert torch.equal(late, known)


def test_seams_do_not_jump(pipeline: Pipeline, speaker: Speaker) -> None:
    """Without the fades and the provisional frames, the same parts jump where they meet, or fade where the first ends."""

    def parts(**seams: int) -> tuple[torch.Tensor, torch.Tensor]:
        maker = renderer(pipeline, speaker, **seams)
        return maker.render(CODES[:35], FLOW, last=False), maker.render(CODES, FLOW, last=True)

    def jump(**seams: int) -> float:
        first, second = parts(**seams)
        return float((second[0] - first[-1]).abs() / second.diff().abs().quantile(0.95))

    def level(**seams: int) -> float:
        first, _ = parts(**seams)
        return float(first[-32:].std() / first[-2048:].std())

    if isinstance(pipeline.config.vocoder, IstftVocoderConfig):  # noise is in its sound: one sample may be anything
        assert level() > 1.2 * level(provisional=0, mel_fade=0, wave_fade=0)
    else:
        assert jump() < 1.0
        assert jump() < jump(provisional=0, mel_fade=0, wave_fade=0)


def test_a_shorter_prompt_keeps_its_end(pipeline: Pipeline, mini_pack: Path) -> None:
    voice, frame_rate = golden_voice(mini_pack), pipeline.config.audio.frame_rate
    whole = make_speaker(pipeline.networks, voice)
    n_frames = whole.reference_mel.shape[-1]
    assert n_frames == whole.prompt_condition.shape[1] == voice.reference_mel.shape[-1] > 20
    for n_wanted in (20, n_frames, 10_000):
        made, n = make_speaker(pipeline.networks, voice, prompt_s=n_wanted / frame_rate), min(n_wanted, n_frames)
        assert torch.equal(made.reference_mel, whole.reference_mel[:, :, n_frames - n :])
        assert torch.equal(made.prompt_condition, whole.prompt_condition[:, n_frames - n :])
        for name in ("conditioning_latents", "emotion_vector", "style"):
            assert torch.equal(getattr(made, name), getattr(whole, name))
