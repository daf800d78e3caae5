"""From a checkpoint to a pack."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.checkpoint import component_tensors
from helpers.conversion import change_tensors, refusal

from edgetts.errors import PackError, UsageError
from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.families.indextts2.networks import NETWORKS
from edgetts.pack.load import open_pack
from edgetts.quant.convert import convert
from edgetts.quant.writer import PackWriter


def test_values_are_the_published_ones(mini_pack: Path) -> None:
    pack = open_pack(mini_pack)
    source = component_tensors("gpt")
    stored = pack.state_dict("gpt")
    assert torch.equal(stored["text_embedding.weight"], source["text_embedding.weight"])
    for matrix in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        name = f"gpt.h.1.{matrix}.weight"
        assert torch.equal(stored[name], source[name].t())
    vocoder = component_tensors("bigvgan")
    for name in ("conv_pre", "ups.0.0", "resblocks.3.convs1.2", "conv_post"):
        expected = torch._weight_norm(vocoder[f"{name}.weight_v"], vocoder[f"{name}.weight_g"], 0)
        torch.testing.assert_close(pack.state_dict("vocoder")[f"{name}.weight"], expected, rtol=1e-6, atol=0)
    layers = {name.split(".")[2] for name in pack.shapes("semantic_encoder") if name.startswith("encoder.layers.")}
    assert len(layers) == 17
    everything = [name for component in INDEXTTS_2.components for name in pack.shapes(component)]
    unwanted = ("decoder.*", "text_head.*", "*.weight_g", "*.weight_v", "*.filter")
    assert not [name for name in everything if any(fnmatchcase(name, pattern) for pattern in unwanted)]


def test_statistics_and_matrices(mini_checkpoint: Path, mini_pack: Path) -> None:
    pack = open_pack(mini_pack)
    published = torch.load(mini_checkpoint / "wav2vec2bert_stats.pt", weights_only=True)
    statistics = pack.state_dict("semantic_statistics")
    assert torch.equal(statistics["mean"], published["mean"])
    assert torch.equal(statistics["std"], published["var"].sqrt())
    emotion = pack.state_dict("emotion")
    assert torch.equal(emotion["speaker_matrix"], torch.load(mini_checkpoint / "feat1.pt", weights_only=True))
    assert torch.equal(emotion["emotion_matrix"], torch.load(mini_checkpoint / "feat2.pt", weights_only=True))


def test_networks_load_from_the_pack(mini_pack: Path) -> None:
    pack = open_pack(mini_pack)
    for component, network in NETWORKS.items():
        pack.module(component, lambda network=network: network.build(pack.config))


def test_half_precision(checkpoint: Path, mini_pack: Path, tmp_path: Path) -> None:
    done = convert(checkpoint, tmp_path / "half.pack", dtype="fp16")
    whole, half = open_pack(mini_pack), open_pack(done.path)
    stored = half.state_dict("vocoder", dtype=None)
    assert {t.dtype for n, t in stored.items() if t.ndim >= 2} == {torch.float16}
    assert {t.dtype for n, t in stored.items() if t.ndim < 2} == {torch.float32}
    for component in ("quantizer", "emotion", "semantic_statistics"):
        assert {t.dtype for t in half.state_dict(component, dtype=None).values()} == {torch.float32}
    for name, value in whole.state_dict("gpt").items():
        rounded = value.half().float() if value.ndim >= 2 else value
        assert torch.equal(half.state_dict("gpt")[name], rounded)
    assert half.manifest.encoder_id == whole.manifest.encoder_id  # a voice fits both
    assert half.manifest.total_bytes < 0.52 * whole.manifest.total_bytes


def test_the_checkpoint_may_be_wrapped_or_come_from_distributed_training(
    checkpoint: Path, mini_pack: Path, tmp_path: Path
) -> None:
    tensors = torch.load(checkpoint / "gpt.pth", weights_only=True)
    (checkpoint / "gpt.pth").unlink()
    torch.save({"model": {f"module.{name}": value for name, value in tensors.items()}}, checkpoint / "gpt.pth")
    done = convert(checkpoint, tmp_path / "pack")
    assert open_pack(done.path).manifest.encoder_id == open_pack(mini_pack).manifest.encoder_id


def test_progress_and_glossary(checkpoint: Path, mini_pack: Path, tmp_path: Path) -> None:
    (checkpoint / "glossary.yaml").write_text("AI: ay eye\n")
    steps: list[tuple[str, int, int]] = []
    done = convert(checkpoint, tmp_path / "pack", progress=lambda *step: steps.append(step))
    assert [step[1] for step in steps] == sorted(step[1] for step in steps)
    assert steps[-1][1] == steps[-1][2] < done.n_bytes == open_pack(done.path).manifest.total_bytes
    assert set(INDEXTTS_2.components) == {step[0] for step in steps}
    path = open_pack(done.path).glossary_path
    assert path is not None and path.read_text() == "AI: ay eye\n"
    assert open_pack(mini_pack).glossary_path is None


def test_hub_cache_layout(checkpoint: Path, mini_pack: Path, tmp_path: Path) -> None:
    """The auxiliary models, and the checkpoint itself, as the Hugging Face hub's cache keeps them."""
    hub = tmp_path / "hub"
    places = {
        "w2v-bert-2.0": ("facebook--w2v-bert-2.0", ""),
        "semantic_codec_model.safetensors": ("amphion--MaskGCT", "semantic_codec/model.safetensors"),
        "campplus_cn_common.bin": ("funasr--campplus", "campplus_cn_common.bin"),
        "bigvgan": ("nvidia--bigvgan_v2_22khz_80band_256x", ""),
    }
    for name, (repository, inside) in places.items():
        snapshot = hub / f"models--{repository}" / "snapshots" / "0123abcd"
        target = snapshot / inside if inside else snapshot
        target.parent.mkdir(parents=True)
        shutil.move(checkpoint / "hf_cache" / name, target)
    (checkpoint / "hf_cache").rmdir()
    assert "facebook/w2v-bert-2.0" in refusal(checkpoint)
    # An older snapshot without the file does no harm, and refs/main decides between two.
    stale = hub / "models--funasr--campplus" / "snapshots" / "0000"
    stale.mkdir()
    (stale / "campplus_cn_common.bin").write_bytes(b"stale")
    (hub / "models--funasr--campplus" / "refs").mkdir()
    (hub / "models--funasr--campplus" / "refs" / "main").write_text("0123abcd\n")
    one = convert(checkpoint, tmp_path / "one.pack", hub_caches=[hub])
    repository = hub / "models--IndexTeam--IndexTTS-2"
    (repository / "snapshots").mkdir(parents=True)
    shutil.move(checkpoint, repository / "snapshots" / "4567")
    two = convert(repository, tmp_path / "two.pack")
    ids = {open_pack(path).manifest.encoder_id for path in (one.path, two.path, mini_pack)}
    assert len(ids) == 1


def test_targets_in_the_way(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.txt").write_text("years")
    for target, force, part in (("file", True, "is a file"), ("documents", True, "left alone")):
        with pytest.raises(UsageError, match=part):
            convert(checkpoint, tmp_path / target, force=force)
    (tmp_path / "empty").mkdir()
    first = convert(checkpoint, tmp_path / "empty")
    with pytest.raises(UsageError, match="force="):
        convert(checkpoint, first.path)
    assert convert(checkpoint, first.path, dtype="fp16", force=True).path == first.path
    assert open_pack(first.path).manifest.recipe == "reference-fp16"
    assert (tmp_path / "documents" / "thesis.txt").read_text() == "years"
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(UsageError, match="fp64"):
        convert(checkpoint, tmp_path / "new", dtype="fp64")


def test_a_killed_conversion_is_taken_up_again(checkpoint: Path, mini_pack: Path, tmp_path: Path) -> None:
    target = tmp_path / "pack"
    script = (
        "import os, sys; from edgetts.quant.convert import convert\n"
        "convert(sys.argv[1], sys.argv[2], progress=lambda what, *_: os._exit(9) if what == 'gpt' else None)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(checkpoint), str(target)], check=False)
    assert killed.returncode == 9
    assert not target.exists()
    partial = tmp_path / ".pack.partial"
    (partial / "gpt.safetensors").write_bytes(b"half")
    assert partial.is_dir()
    done = convert(checkpoint, target)
    assert "conditioning" in done.reused and "gpt" not in done.reused
    assert not partial.exists()
    names = {p.name for p in target.iterdir()}
    assert names == {p.name for p in mini_pack.iterdir()}
    for name in names - {"manifest.json"}:
        assert (target / name).read_bytes() == (mini_pack / name).read_bytes()
    open_pack(target, verify=True)


def test_nothing_is_taken_over_from_another_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    def stop(what: str, *_: int) -> None:
        if what == "gpt":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(checkpoint, tmp_path / "pack", progress=stop)
    assert (tmp_path / ".pack.partial").is_dir()
    change_tensors(checkpoint / "gpt.pth", lambda tensors: tensors["emo_layer.bias"].zero_())
    done = convert(checkpoint, tmp_path / "pack")
    assert done.reused == ()
    assert open_pack(done.path).state_dict("conditioning")["emo_layer.bias"].count_nonzero() == 0


def _hold(target: str, config: Any, ready: Any, release: Any) -> None:
    PackWriter(target, config, name="x", recipe="x", license="x")
    ready.set()
    release.wait(60)


def test_two_writers_do_not_meet(checkpoint: Path, mini_pack: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()
    holder = context.Process(
        target=_hold, args=(str(tmp_path / "pack"), open_pack(mini_pack).config, ready, release), daemon=True
    )
    holder.start()
    assert ready.wait(60)
    try:
        with pytest.raises(PackError, match="Another process"):
            convert(checkpoint, tmp_path / "pack")
    finally:
        release.set()
        holder.join(60)
    assert convert(checkpoint, tmp_path / "pack").path.is_dir()


def test_full_disk_is_told_before_writing(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(PackError, match="disk is too full"):
        convert(checkpoint, tmp_path / "pack")
    assert not (tmp_path / "pack").exists()
