"""The text files of a checkpoint: configurations, the glossary, pointers and pages in a file's place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.trees import replace
from helpers.weights import refusal

from edgetts.pack.load import open_pack
from edgetts.quant.convert import convert

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 3000000000\n"


def test_pointers_of_git_lfs_are_named_at_once(checkpoint: Path) -> None:
    pointers = [
        "gpt.pth",
        "s2mel.pth",
        "bpe.model",
        "feat1.pt",
        "hf_cache/w2v-bert-2.0/model.safetensors",
        "config.yaml",
    ]
    for name in pointers:
        replace(checkpoint / name, POINTER)
    message = refusal(checkpoint)
    assert "6 file(s) of the checkpoint are Git LFS pointers" in message and "git lfs pull" in message
    assert all(f"{name} ({len(POINTER)} bytes)" in message for name in pointers) and "edgetts download" in message


def test_web_pages_in_place_of_files(checkpoint: Path) -> None:
    replace(checkpoint / "gpt.pth", b"\n <!DOCTYPE html><html>Please log in")
    replace(checkpoint / "hf_cache/campplus_cn_common.bin", b"<html><body>Sorry")
    message = refusal(checkpoint)
    assert "2 file(s) of the checkpoint are web pages" in message and "campplus_cn_common.bin" in message


def with_config(checkpoint: Path, change: Callable[[dict[str, Any]], object], file: str = "config.yaml") -> Path:
    is_yaml = file.endswith(".yaml")
    text = (checkpoint / file).read_text()
    table = yaml.safe_load(text) if is_yaml else json.loads(text)
    change(table)
    replace(checkpoint / file, (yaml.safe_dump(table) if is_yaml else json.dumps(table)).encode())
    return checkpoint


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("config.yaml", lambda t: t["gpt"].update(model_dim=10**9), "gpt.model_dim is 1000000000, allowed is"),
        ("config.yaml", lambda t: t["gpt"].update(model_dim=10**30), "gpt.model_dim is a huge integer"),
        ("config.yaml", lambda t: t["gpt"].update(model_dim=-1), "gpt.model_dim is -1"),
        ("config.yaml", lambda t: t["gpt"].update(layers=10**6), "gpt.layers is 1000000, allowed is from 0 to 1024"),
        ("config.yaml", lambda t: t["gpt"].update(heads=0), "checkpoint"),
        ("config.yaml", lambda t: t["gpt"].update(heads=7), "heads"),
        ("config.yaml", lambda t: t["gpt"].update(layers=2.5), "gpt.layers must be an integer"),
        ("config.yaml", lambda t: t["semantic_codec"].update(codebook_dim=0), "checkpoint"),
        ("config.yaml", lambda t: t.update(emo_num=[10**9]), "emo_num must be a list of integers from 1"),
        ("config.yaml", lambda t: t.update(emo_num=[1] * 5000), "emo_num must be a list"),
        ("config.yaml", lambda t: t.update(version=10**30), "version a huge integer"),
        (
            "config.yaml",
            lambda t: t.update(gpt_checkpoint="../../gpt.pth"),
            "names '../../gpt.pth', which is not a file in",
        ),
        (
            "config.yaml",
            lambda t: t.update(gpt_checkpoint="/etc/passwd"),
            "names '/etc/passwd', which is not a file in",
        ),
        ("hf_cache/bigvgan/config.json", lambda t: t.update(upsample_rates=[0, 4]), "upsample_rates must be a list"),
        (
            "hf_cache/bigvgan/config.json",
            lambda t: t.update(upsample_initial_channel=10**9),
            "upsample_initial_channel",
        ),
        ("hf_cache/bigvgan/config.json", lambda t: t.update(num_mels=81), "num_mels is 81"),
        ("hf_cache/w2v-bert-2.0/config.json", lambda t: t.update(layer_norm_eps=1e30), "layer_norm_eps is"),
        ("hf_cache/w2v-bert-2.0/config.json", lambda t: t.update(num_attention_heads=0), "checkpoint"),
    ],
)
def test_dimensions_out_of_range(
    checkpoint: Path, file: str, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    assert words in refusal(with_config(checkpoint, change, file))


LAUGHS = b"a: &a [1]\n" + b"".join(
    b"%c: &%c [%s]\n" % (n + 1, n + 1, b", ".join([b"*%c" % n] * 9)) for n in range(97, 122)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: " + b"9" * 100_000, "a number in it has 100000 characters"),
        (b"a: 0x" + b"f" * 100_000, "a number in it has"),
        (b"a: " + b"1:" * 50_000 + b"1", "a number in it has"),
        (b"a: " + b"1:" * 50_000 + b"1.5", "a number in it has"),
        (b"a: !!int '" + b"9" * 100_000 + b"'", "a number in it has"),
        (b"a: !!float '" + b"9" * 100_000 + b"'", "a number in it has"),
        (b"[" * 50_000, "nested deeper than 32"),
        (b"a: " + b"{a: " * 20_000, "nested deeper than 32"),
        (b"".join(b" " * n + b"a:\n" for n in range(300)), "nested deeper than 32"),
        (LAUGHS, "has an alias"),
        (b"a: &a {x: 1}\nb: {<<: *a}", "has an alias"),
        (b"x: 2001-99-99", "cannot be read"),
        (b"? [1]\n: 2", "cannot be read"),
        (b"!!python/object/apply:os.system [ls]", "cannot be read"),
        (b"a: \xff", "cannot be read"),
        (b"x" * (1 << 20), "too large for a configuration"),
    ],
)
def test_hostile_yaml(checkpoint: Path, content: bytes, words: str) -> None:
    replace(checkpoint / "config.yaml", content)
    assert words in refusal(checkpoint)


@pytest.mark.parametrize("content", [b"[" * 50_000, b'{"a":' * 20_000, b'{"a": ' + b"9" * 50_000 + b"}", b'{"a": NaN}'])
def test_hostile_json(checkpoint: Path, content: bytes) -> None:
    replace(checkpoint / "hf_cache/bigvgan/config.json", content)
    assert "config.json cannot be read" in refusal(checkpoint)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"- 1", "must map terms to readings"),
        (b"a: [b", "is not YAML"),
        (b"AI: 3", "must be text"),
        (b"x" * (300 << 10), "is not a file of at most"),
        (b"\xff", "is not YAML"),
        (LAUGHS, "has an alias"),
        (b"[" * 50_000, "nested deeper"),
    ],
)
def test_a_glossary_is_read_before_the_work(checkpoint: Path, content: bytes, words: str) -> None:
    (checkpoint / "glossary.yaml").write_bytes(content)
    message = refusal(checkpoint)
    assert "glossary.yaml" in message and words in message and "fix or remove it" in message


def test_a_glossary_elsewhere(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "private.yaml").write_text("AI: ay eye\n")
    glossary = checkpoint / "glossary.yaml"
    for meant, words in (
        (tmp_path / "private.yaml", "outside of the checkpoint"),
        (Path("/dev/zero"), "outside of the checkpoint"),
        (tmp_path / "none", "cannot be read"),
        (glossary, "cannot be read"),
    ):
        glossary.symlink_to(meant)
        assert words in refusal(checkpoint)
        glossary.unlink()
    glossary.mkdir()
    assert "glossary.yaml" in refusal(checkpoint)


def test_a_glossary_in_a_hub_cache_is_a_link_to_its_blobs(checkpoint: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--IndexTeam--IndexTTS-2"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "0123").write_text("AI: ay eye\n")
    checkpoint.rename(repository / "snapshots" / "4567")
    (repository / "snapshots" / "4567" / "glossary.yaml").symlink_to("../../blobs/0123")
    made = convert(repository, tmp_path / "pack")
    path = open_pack(made.path).glossary_path
    assert path is not None and path.read_text() == "AI: ay eye\n" and not path.is_symlink()
