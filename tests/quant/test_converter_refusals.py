"""Checkpoints that cannot be converted are refused in one message that lists everything wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.conversion import change_tensors, refusal
from helpers.trees import replace

from edgetts.errors import PackError
from edgetts.quant.convert import convert

W2V_BERT = "hf_cache/w2v-bert-2.0/model.safetensors"


def test_overflow_in_half_precision_names_the_tensor(checkpoint: Path, tmp_path: Path) -> None:
    def enlarge(tensors: dict[str, Any]) -> None:
        tensors["feature_projection.projection.weight"][3, 4] = 1e5

    change_tensors(checkpoint / W2V_BERT, enlarge)
    expected = r"feature_projection\.projection\.weight of semantic_encoder reaches 1e\+05.*dtype="
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
