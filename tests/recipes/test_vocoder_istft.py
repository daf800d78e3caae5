"""Training of the vocoder at the frame rate: pitch of recordings, excerpts, figures, and a few steps of each stage."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers.vocoder_corpus import CPU, N_RECORDINGS, RATE, SMALL, harmonics, make_corpus, time_of

from edgetts.models.istft_vocoder import NUMBER, PHASE
from edgetts.models.istft_vocoder import reach as reach_of
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pipeline import Pipeline
from recipes.tiny import dims, fresh_vocoder
from recipes.tiny.common import Run, computing_time
from recipes.tiny.corpus import pitch, predicted_mels, synthetic
from recipes.tiny.corpus.data import Corpus, is_held_out
from recipes.tiny.corpus.excerpts import Excerpts
from recipes.tiny.evaluation import evaluate_vocoder, sound_metrics
from recipes.tiny.mel import mel_of
from recipes.tiny.stages.train_pitch import PitchTrainer, targets_of
from recipes.tiny.stages.train_vocoder_istft import EDGE, Trainer, frames_of


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("buzzes"))


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


@pytest.mark.parametrize("hertz", [70.0, 90.3, 143.0, 222.2, 310.0, 450.0])
def test_pitch_of_a_steady_tone(hertz: float) -> None:
    found = pitch.pitch_of(harmonics(hertz * time_of(0.6)))
    assert len(found) == int(0.6 * RATE) // dims.HOP
    assert np.abs(found[3:-3] * RATE / dims.HOP / hertz - 1).max() < 0.003


def test_pitch_of_a_glide_lies_at_the_middle_of_each_hop() -> None:
    time = time_of(1.0)
    hertz = 150 * 2 ** (0.3 * np.sin(2 * np.pi * 2 * time))
    found = pitch.pitch_of(harmonics(np.cumsum(hertz) / RATE)) * RATE / dims.HOP
    there = hertz[dims.HOP // 2 :: dims.HOP][: len(found)]
    assert np.abs(found / there - 1)[3:-3].max() < 0.005


def test_noise_and_silence_have_no_pitch() -> None:
    assert (pitch.pitch_of(noise(0.5)) > 0).mean() < 0.2
    assert not pitch.pitch_of(np.zeros(5000, np.float32)).any()
    assert len(pitch.pitch_of(np.zeros(100, np.float32))) == 0
    both = np.concatenate([harmonics(120 * time_of(0.4)), 0.001 * harmonics(120 * time_of(0.4))])
    voiced = pitch.pitch_of(both) > 0
    assert voiced[3:30].all() and not voiced[40:].any()  # far below the loudest is silence


def test_a_pitch_that_misses_its_fundamental() -> None:
    """The period is that of all partials together, not of the lowest that is there."""
    time = time_of(0.5)
    wave = sum(np.cos(2 * np.pi * k * 110 * time) for k in (3, 4, 5, 6)).astype(np.float32)
    found = pitch.pitch_of(wave)[3:-3] * RATE / dims.HOP
    assert np.abs(found / 110 - 1).max() < 0.01


def test_a_corpus_gets_its_pitch_once(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in (0, 1, 2):
        there = synthetic.VOICES[corpus.items[i]["voice"]]
        found = corpus.get("pitch", i).numpy() * RATE / dims.HOP
        assert abs(np.median(found[found > 0]) / there - 1) < 0.06
        assert corpus.length("pitch", i) == corpus.length("wav", i) // dims.HOP
    monkeypatch.setattr(pitch, "ProcessPoolExecutor", None)
    pitch.add_pitch(corpus)


def test_a_folder_of_recordings_is_enough(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", harmonics(200 * time_of(0.5)), RATE)
    sf.write(tmp_path / "b.flac", harmonics(100 * np.arange(24_000) / 48_000), 48_000)
    made = pitch.cache(tmp_path, tmp_path.parent / "made", workers=1)
    assert [item["name"] for item in made.items] == ["a", "b"]
    for i, hertz in enumerate((200, 100)):
        assert made.length("wav", i) == RATE // 2
        found = made.get("pitch", i).numpy() * RATE / dims.HOP
        assert np.median(found[found > 0]) == pytest.approx(hertz, rel=0.01)


def test_excerpts_are_parts_of_the_whole(corpus: Corpus) -> None:
    """Their mel is that of the whole recording, also at the edges; nothing held out is trained on."""
    training, held = (Excerpts([corpus], 20, held=h) for h in (False, True))
    assert {i for _, i, _ in held.places} == {i for i in range(len(corpus)) if is_held_out(i)} == {39}
    assert 39 not in {i for _, i, _ in training.places} and len(training.places) == N_RECORDINGS - 1
    drawn = held.draw(3, np.random.default_rng(0), gain=False)
    whole = corpus.get("wav", 39).float()[None] / 32768
    mel = mel_of(whole)
    for wave, part, tones in zip(drawn.wave, drawn.mel, drawn.pitch, strict=True):
        starts = [k for k in range(mel.shape[-1] - 19) if torch.equal(whole[0, k * 256 :][: len(wave)], wave)]
        assert starts
        assert torch.allclose(mel[0, :, starts[0] : starts[0] + 20], part, atol=1e-4)
        assert torch.equal(corpus.get("pitch", 39)[starts[0] : starts[0] + 20], tones)


def test_levels_change_but_nothing_clips(corpus: Corpus) -> None:
    peaks = Excerpts([corpus], 20, held=False).draw(60, np.random.default_rng(0)).wave.abs().amax(1)
    assert peaks.max() <= 1.0 and peaks.max() > 3 * peaks.min()


def test_a_share_of_excerpts_has_predicted_mels(corpus: Corpus) -> None:
    """Only where there is one for the place, and the recording stays at its own level beside it."""
    n_frames = corpus.length("wav", 3) // dims.HOP
    empty = np.zeros((0, dims.N_MELS), np.float16)
    mark = np.arange(n_frames, dtype=np.float16)[:, None].repeat(dims.N_MELS, 1)
    corpus.put("predicted", [mark if i == 3 else empty for i in range(len(corpus))])
    try:
        for share, wanted in ((0.0, set()), (1.0, {3})):
            excerpts = Excerpts([corpus], 20, held=False, predicted=share)
            excerpts.places = [place for place in excerpts.places if place[1] in (3, 4)]
            excerpts.shares = np.array([0.5, 0.5])
            drawn = excerpts.draw(12, np.random.default_rng(0))
            marked = [k for k in range(12) if torch.equal(drawn.mel[k, 0], drawn.mel[k, 0, :1] + torch.arange(20))]
            assert bool(marked) == bool(wanted) and len(marked) < 12
            for k in marked:
                start = int(drawn.mel[k, 0, 0])
                there = corpus.get("wav", 3)[start * dims.HOP : (start + 20) * dims.HOP].float() / 32768
                assert torch.equal(drawn.wave[k], there)
    finally:
        (corpus.folder / "predicted.npy").unlink()


def test_prompts_are_other_recordings_of_the_voice() -> None:
    items = [{"voice": v} for v in "abacab"]
    assert predicted_mels.prompts(items, range(6)) == {0: 2, 2: 4, 4: 0, 1: 5, 5: 1}


def test_predicted_mels_lie_beside_their_recordings(corpus: Corpus) -> None:
    """With the built-in pack: for each recording with another of its voice, frames as it has them or one code less."""
    pipeline = Pipeline(open_pack(builtin_pack()), CPU)
    chosen = [0, 1, 3]  # two of one voice, one of another
    try:
        assert predicted_mels.add_predicted(pipeline, corpus, chosen) == 2
        for i in range(5):
            n_frames = corpus.length("predicted", i)
            most = corpus.length("wav", i) // dims.HOP
            assert (most - 4 <= n_frames <= most) if i in (0, 3) else n_frames == 0
        assert corpus.get("predicted", 0).isfinite().all() and corpus.get("predicted", 0).std() > 0.1
    finally:
        (corpus.folder / "predicted.npy").unlink()


def test_too_small_a_corpus_is_refused(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="no held-out recording has 10004 frames"):
        Excerpts([corpus], 10_000, held=True)


def test_before_training_the_loudness_is_that_of_the_mel() -> None:
    """Where the network adds nothing, noise comes back as loud as it was, in every band but the outermost."""
    vocoder = fresh_vocoder.fresh().eval()
    with torch.inference_mode():
        vocoder.head.bias.zero_()
        wave = torch.from_numpy(noise(3.0))[None]
        mel = mel_of(wave)
        rows = torch.zeros(1, 4, mel.shape[-1])
        rows[:, 0] = 1.0
        rows[:, NUMBER] = torch.arange(mel.shape[-1])
        made = mel_of(vocoder.render(torch.cat([mel, rows], 1)))
    difference = (made - mel)[0, 3:-3, 10:-10].mean(-1)
    assert difference.abs().max() < 0.15


def test_sources_start_anywhere(corpus: Corpus) -> None:
    drawn = Excerpts([corpus], 24, held=False).draw(4, np.random.default_rng(0))
    one, other = (frames_of(drawn, np.random.default_rng(k)) for k in (0, 1))
    n = drawn.mel.shape[1]
    assert torch.equal(one[:, : n + PHASE], other[:, : n + PHASE])
    turned = (one - other)[:, n + PHASE].remainder(1.0)
    assert turned.std(0).min() > 0.01 and (one - other)[:, n + NUMBER].abs().min() > 0


def test_classes_of_pitch() -> None:
    lowest = torch.tensor([[dims.PITCH.lowest, 2 * dims.PITCH.lowest]])
    assert targets_of(lowest).argmax(-1).tolist() == [[0, dims.PITCH.classes_per_octave]]


def test_the_pitch_network_learns(corpus: Corpus) -> None:
    torch.manual_seed(0)
    trainer, excerpts = PitchTrainer(CPU), Excerpts([corpus], 32, held=False)
    drawn = excerpts.draw(6, np.random.default_rng(0))
    losses = [float(trainer.step(i, drawn, np.random.default_rng(i))["loss"]) for i in range(12)]
    assert losses[-1] < 0.8 * losses[0]
    errors = trainer.errors(drawn)
    assert set(errors) == {"off", "cents", "voicing"} and 0 <= errors["voicing"] <= 1


def test_both_phases_train_the_vocoder(corpus: Corpus) -> None:
    torch.manual_seed(0)
    trainer, generator = Trainer(SMALL, CPU), np.random.default_rng(0)
    excerpts = Excerpts([corpus], SMALL.n_frames, held=False)
    drawn = excerpts.draw(4, generator)
    frames = frames_of(drawn, generator)
    before = trainer.distances(drawn, frames)
    pitch_net = {k: v.clone() for k, v in trainer.vocoder.pitch_net.state_dict().items()}
    judges = [p.detach().clone() for p in trainer.judges.parameters()]
    for i in range(6):
        assert set(trainer.step(i, drawn, generator, adversarial=False)) == {"mel", "stft"}
    assert all(torch.equal(a, b) for a, b in zip(judges, trainer.judges.parameters(), strict=True))
    assert trainer.distances(drawn, frames)["mel"] < before["mel"]
    losses = trainer.step(6, drawn, generator, adversarial=True)
    assert set(losses) == {"mel", "stft", "judges", "adversarial", "matching"}
    assert all(math.isfinite(value) for value in losses.values())
    assert not all(torch.equal(a, b) for a, b in zip(judges, trainer.judges.parameters(), strict=True))
    assert all(p.requires_grad for p in trainer.judges.parameters())
    assert all(torch.equal(pitch_net[k], v) for k, v in trainer.vocoder.pitch_net.state_dict().items())


def test_predicted_mels_train_without_their_recordings(corpus: Corpus) -> None:
    """Their pitch is the network's own, and only the discriminators compare them with recordings."""
    torch.manual_seed(0)
    trainer, generator = Trainer(SMALL, CPU), np.random.default_rng(0)
    drawn = Excerpts([corpus], SMALL.n_frames, held=False).draw(4, generator)
    assert not drawn.is_predicted.any()
    some = dataclasses.replace(drawn, is_predicted=torch.tensor([True, False, False, True]))
    rows = frames_of(some, generator, trainer.vocoder.pitch_net)[:, dims.N_MELS]
    own, _ = trainer.vocoder.pitch_net.pitch(drawn.mel)
    assert torch.equal(rows[some.is_predicted], own[some.is_predicted])
    voiced = drawn.pitch[1:3] > 0
    assert torch.equal(rows[1:3][voiced], drawn.pitch[1:3][voiced])
    losses = trainer.step(0, some, generator, adversarial=True)
    assert set(losses) == {"mel", "stft", "anchor", "judges", "adversarial", "matching"}
    all_of_them = dataclasses.replace(drawn, is_predicted=torch.ones(4, dtype=torch.bool))
    losses = trainer.step(1, all_of_them, generator, adversarial=True)
    assert set(losses) == {"anchor", "judges", "adversarial", "matching"} and losses["matching"] == 0
    assert all(math.isfinite(value) for value in losses.values())


def test_fresh_discriminators_learn_alone_first(corpus: Corpus) -> None:
    torch.manual_seed(0)
    trainer, generator = Trainer(SMALL, CPU), np.random.default_rng(0)
    drawn = Excerpts([corpus], SMALL.n_frames, held=False).draw(2, generator)
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in (trainer.vocoder, trainer.judges)]
    assert set(trainer.step(0, drawn, generator, adversarial=True, frozen=True)) == {"judges"}
    after = [m.state_dict() for m in (trainer.vocoder, trainer.judges)]
    assert all(torch.equal(v, after[0][k]) for k, v in before[0].items())
    assert not all(torch.equal(v, after[1][k]) for k, v in before[1].items())


def test_only_whole_sound_is_judged() -> None:
    assert reach_of(dims.VOCODER) > EDGE > 2 and SMALL.n_frames > 2 * EDGE


def test_time_is_what_the_process_got(tmp_path: Path) -> None:
    """A budget of computing does not run out while the process waits."""
    now = iter([0.0, 1.0, 1.0, 61.0])
    run = Run(tmp_path, "stage", 1.0, {"net": torch.nn.Linear(1, 1)}, {}, clock=lambda: next(now))
    assert list(run) == [0, 1, 2] and run.spent_s == 61.0
    assert computing_time() > 0


def test_comb_of_a_hum_at_the_frame_rate() -> None:
    """Everything lies on the comb; of noise, what chance puts there; of a pitch between its teeth, nothing."""
    spacing = RATE / dims.HOP
    hum = harmonics(spacing * time_of(2.0), 90)
    assert min(sound_metrics.comb_shares(hum)) > 0.99
    chance = 2 * sound_metrics.COMB_WIDTH_HZ / spacing
    assert np.mean([sound_metrics.comb_shares(noise(4.0, k)) for k in range(4)]) == pytest.approx(chance, rel=0.15)
    tone = sum(np.cos(2 * np.pi * (k + 0.5) * spacing * time_of(2.0)) for k in range(90)).astype(np.float32)
    assert max(sound_metrics.comb_shares(tone)) < 0.001
    with pytest.raises(ValueError, match="too few"):
        sound_metrics.comb_shares(hum[: RATE // 2])


def test_harmonics_to_noise() -> None:
    wave = harmonics(150 * time_of(1.0))
    for wanted in (5.0, 10.0):
        level = wave.std() * 10 ** (-wanted / 20) / 0.1
        assert sound_metrics.harmonics_to_noise(wave + level * noise(1.0)) == pytest.approx(wanted, abs=1.0)
    assert math.isnan(sound_metrics.harmonics_to_noise(np.zeros(5000, np.float32)))


def test_distances_are_none_from_itself_and_grow() -> None:
    wave = harmonics(150 * time_of(1.0))
    for distance in (sound_metrics.cepstral_distance, sound_metrics.spectral_distance):
        near, far = (distance(wave + level * noise(1.0), wave) for level in (0.01, 0.3))
        assert distance(wave, wave) < 1e-4 < near < far


def test_means_are_over_the_rows_that_have_a_figure() -> None:
    found = sound_metrics.means([{"a": 1.0, "b": 3.0}, {"a": 2.0}, {"a": math.nan}])
    assert found == {"a": 1.5, "b": 3.0} and sound_metrics.means([]) == {}


# All that a machine with a GPU has, besides this checkout.
def test_sets_of_the_evaluation(corpus: Corpus) -> None:
    folder = corpus.folder.parent
    (folder / "eval_voices").mkdir(exist_ok=True)
    for name in ("af_nova", "af_heart"):
        sf.write(folder / "eval_voices" / f"{name}.flac", harmonics(200 * time_of(0.3)), 24_000)
    found = evaluate_vocoder.sets(folder, 5)
    assert [p.stem for p in found["unheard voices"]] == ["af_nova"]
    assert [p.stem for p in found["held out"]] == [corpus.items[39]["name"]]
    wave = evaluate_vocoder.read(found["unheard voices"][0])
    assert wave.dtype == np.float32 and len(wave) % dims.HOP == 0
