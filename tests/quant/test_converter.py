from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.checkpoint import component_tensors
from helpers.trees import copy_tree, replace
from safetensors.torch import load_file, save_file

from edgetts.errors import CheckpointError, PackError, UsageError
from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.families.indextts2.networks import NETWORKS
from edgetts.pack.load import open_pack
from quant import convert as convert_module
from quant.convert import convert
from quant.writer import PackWriter

W2V_BERT = "hf_cache/w2v-bert-2.0/model.safetensors"


@pytest.fixture
def checkpoint(mini_checkpoint: Path, tmp_path: Path) -> Path:
    return copy_tree(mini_checkpoint, tmp_path / "checkpoint")


def refusal(checkpoint: Path, target: Path | None = None) -> str:
    target = target or checkpoint.parent / "pack"
    with pytest.raises(CheckpointError) as error:
        convert(checkpoint, target)
    assert not target.exists()
    assert not list(target.parent.glob(".*partial*"))
    return str(error.value)


def change_tensors(path: Path, change: Any) -> None:
    if path.suffix == ".safetensors":
        tensors = load_file(path)
        change(tensors)
        path.unlink()
        save_file(tensors, path)
        return
    value = torch.load(path, weights_only=True)
    change(value)
    path.unlink()
    torch.save(value, path)


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


def test_overflow_in_half_precision_names_the_tensor(checkpoint: Path, tmp_path: Path) -> None:
    def enlarge(tensors: dict[str, Any]) -> None:
        tensors["feature_projection.projection.weight"][3, 4] = 1e5

    change_tensors(checkpoint / W2V_BERT, enlarge)
    expected = r"feature_projection\.projection\.weight of semantic_encoder reaches 1e\+05.*--dtype fp32"
    with pytest.raises(PackError, match=expected):
        convert(checkpoint, tmp_path / "pack", dtype="fp16")
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_damaged_values_name_the_tensor(checkpoint: Path, tmp_path: Path) -> None:
    def spoil(tensors: dict[str, Any]) -> None:
        tensors["feature_projection.layer_norm.bias"][0] = float("nan")

    change_tensors(checkpoint / W2V_BERT, spoil)
    with pytest.raises(PackError, match=r"layer_norm\.bias of semantic_encoder holds NaN"):
        convert(checkpoint, tmp_path / "pack")


def test_lists_everything_wrong_in_one_message(checkpoint: Path) -> None:
    def gpt(tensors: dict[str, Any]) -> None:
        del tensors["mel_head.bias"]
        tensors["gpt.h.0.attn.c_attn.weight"] = torch.zeros(100, 384)
        tensors["lora.weight"] = torch.zeros(1)

    def s2mel(value: dict[str, Any]) -> None:
        del value["net"]["cfm"]["estimator.wavenet.in_layers.0.conv.conv.weight_g"]

    def w2v(tensors: dict[str, Any]) -> None:
        tensors["encoder.layers.3.extra"] = torch.zeros(1)
        tensors["encoder.layers.20.extra"] = torch.zeros(1)  # above what is used: no matter

    change_tensors(checkpoint / "gpt.pth", gpt)
    change_tensors(checkpoint / "s2mel.pth", s2mel)
    change_tensors(checkpoint / W2V_BERT, w2v)
    change_tensors(checkpoint / "hf_cache" / "campplus_cn_common.bin", lambda t: t.pop("head.conv1.weight"))
    torch_file = checkpoint / "feat2.pt"
    torch_file.unlink()
    torch.save(torch.zeros(72, 1280), torch_file)
    message = refusal(checkpoint)
    for part in (
        "gpt: missing mel_head.bias",
        "gpt: gpt.h.0.attn.c_attn.weight has shape [100, 384] instead of [128, 384]",
        "gpt: unexpected lora.weight",
        "s2mel: missing cfm.estimator.wavenet.in_layers.0.conv.conv.weight",
        "s2mel: unexpected cfm.estimator.wavenet.in_layers.0.conv.conv.weight_v",
        "w2vbert: unexpected encoder.layers.3.extra",
        "campplus: missing head.conv1.weight",
        "emotion: tensor emotion_matrix has shape [72, 1280] instead of [73, 'any']",
        "(8 differences)",
    ):
        assert part in message
    assert "layers.20" not in message


def test_all_missing_files_are_listed_with_where_to_get_them(checkpoint: Path) -> None:
    for name in ("gpt.pth", "bpe.model", "hf_cache/campplus_cn_common.bin", "hf_cache/bigvgan/bigvgan_generator.pt"):
        (checkpoint / name).unlink()
    message = refusal(checkpoint)
    for part in ("4 file(s)", "gpt.pth", "bpe.model", "funasr/campplus", "nvidia/bigvgan_v2_22khz_80band_256x"):
        assert part in message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gpt.pth", b"not a checkpoint"),
        ("gpt.pth", b"PK\x03\x04 half an archive"),
        ("gpt.pth", b""),
        ("hf_cache/semantic_codec_model.safetensors", b"\x10\x00"),
        ("hf_cache/w2v-bert-2.0/config.json", b"{"),
        ("hf_cache/bigvgan/config.json", b"[]"),
        ("config.yaml", b"a: [b"),
        ("config.yaml", b"- 1"),
        ("bpe.model", b"\x00\x01\x02"),
    ],
)
def test_damaged_files_are_named(checkpoint: Path, name: str, content: bytes) -> None:
    replace(checkpoint / name, content)
    message = refusal(checkpoint)
    assert name.rsplit("/", maxsplit=1)[-1] in message and len(message) < 600


def test_a_truncated_archive_is_refused(checkpoint: Path) -> None:
    data = (checkpoint / "s2mel.pth").read_bytes()
    replace(checkpoint / "s2mel.pth", data[: len(data) // 2])
    assert "s2mel.pth" in refusal(checkpoint)


class Attack:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("attacked"),))


def test_pickled_code_is_never_run(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (checkpoint / "gpt.pth").unlink()
    torch.save({"model": Attack()}, checkpoint / "gpt.pth")
    assert "more than tensors" in refusal(checkpoint)
    assert not (tmp_path / "attacked").exists()


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


def test_other_versions_are_refused_by_name(checkpoint: Path, tmp_path: Path) -> None:
    table = yaml.safe_load((checkpoint / "config.yaml").read_text())
    sentences = []
    for version, which in (
        (1.5, "IndexTTS 1.5"),
        (2.5, "IndexTTS-2.5"),
        ("1.0", "version '1.0'"),
        (3.0, "version 3.0"),
    ):
        replace(checkpoint / "config.yaml", yaml.safe_dump(table | {"version": version}).encode())
        sentences.append(refusal(checkpoint))
        assert which in sentences[-1] and "IndexTeam/IndexTTS-2" in sentences[-1]
    old = {"gpt": table["gpt"], "bigvgan": {"gpt_dim": 1280}, "bigvgan_checkpoint": "bigvgan_generator.pth"}
    replace(checkpoint / "config.yaml", yaml.safe_dump(old).encode())
    assert "IndexTTS 1.x" in refusal(checkpoint)
    new = {key: value for key, value in table.items() if key != "version"}
    new["gpt"] = table["gpt"] | {"spk_cond_mode": "campplus"}
    replace(checkpoint / "config.yaml", yaml.safe_dump(new).encode())
    assert "IndexTTS-2.5" in refusal(checkpoint)
    for file, which in (
        ("codec.pth", "2.5"),
        ("dvae.pth", "1.x"),
        ("manifest.json", "model pack"),
        ("x", "config.yaml"),
    ):
        folder = tmp_path / f"with-{file}"
        folder.mkdir()
        (folder / file).write_bytes(b"")
        assert which in refusal(folder)


def test_unknown_missing_and_unsupported_settings_are_all_listed(checkpoint: Path) -> None:
    table = yaml.safe_load((checkpoint / "config.yaml").read_text())
    table["gpt"]["flash_attention"] = True
    table["gpt"]["train_solo_embeddings"] = True
    table["s2mel"]["DiT"]["is_causal"] = True
    table["s2mel"]["length_regulator"]["sampling_ratios"] = [1, 2]
    table["emo_num"] = "many"
    del table["semantic_codec"]["codebook_dim"]
    replace(checkpoint / "config.yaml", yaml.safe_dump(table).encode())
    vocoder = json.loads((checkpoint / "hf_cache/bigvgan/config.json").read_text())
    replace(checkpoint / "hf_cache/bigvgan/config.json", json.dumps(vocoder | {"activation": "snake"}).encode())
    message = refusal(checkpoint)
    for part in (
        "unknown key gpt.flash_attention",
        "gpt.train_solo_embeddings is True",
        "s2mel.DiT.is_causal is True",
        "sampling_ratios is [1, 2]",
        "emo_num must be",
        "missing key semantic_codec.codebook_dim",
        "activation is 'snake'",
    ):
        assert part in message


def test_targets_in_the_way(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.txt").write_text("years")
    for target, force, part in (("file", True, "is a file"), ("documents", True, "left alone")):
        with pytest.raises(UsageError, match=part):
            convert(checkpoint, tmp_path / target, force=force)
    (tmp_path / "empty").mkdir()
    first = convert(checkpoint, tmp_path / "empty")
    with pytest.raises(UsageError, match="--force"):
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
        "import os, sys; from quant.convert import convert\n"
        "convert(sys.argv[1], sys.argv[2], progress=lambda what, *_: os._exit(9) if what == 'gpt' else None)"
    )
    root = Path(convert_module.__file__).resolve().parents[1]
    killed = subprocess.run([sys.executable, "-c", script, str(checkpoint), str(target)], cwd=root, check=False)
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
