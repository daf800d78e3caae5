"""Names, descriptions and notices of packs and voices reach no terminal raw."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.command import Edgetts
from helpers.trees import copy_tree, replace

from edgetts.pack.locate import builtin_pack
from edgetts.pack.manifest import manifest_json, read_manifest
from edgetts.voices.voice import Voice

ESCAPES = "\x1b[2J\x1b]0;owned\x07 \u202etxt.\x9b1m\nlast"


def pack_with(folder: Path, **changes: Any) -> Path:
    """The built-in pack with other words in its manifest."""
    pack = copy_tree(builtin_pack(), folder)
    manifest = dataclasses.replace(read_manifest(pack), **changes)
    replace(pack / "manifest.json", manifest_json(manifest).encode())
    return pack


def is_plain(text: str) -> bool:
    return all(c == "\n" or c.isprintable() for c in text)


@pytest.mark.parametrize(
    "changes",
    [
        *({key: ESCAPES} for key in ("name", "description", "created_by", "recipe", "license")),
        {"quality": {ESCAPES: ESCAPES}},
        {"quality": {"compared_with": ESCAPES, "gpt": {}, "sound": {}}},
        {"quality": {"gpt": {"top1": "x"}, "sound": [1], "sizes": {"gpt": 3, "s2mel": {"before": ESCAPES}}}},
        {"quality": {"gpt": [], "sound": None, "sizes": [1], "snr_db": 3}},
    ],
    ids=str,
)
def test_info(edgetts: Edgetts, tmp_path: Path, changes: Mapping[str, Any]) -> None:
    pack = pack_with(tmp_path / "a.pack", **changes)
    result = edgetts("info", pack)
    assert result.exit_code == 0 and is_plain(result.stdout), result.stdout
    as_json = edgetts("info", pack, "--json").stdout
    assert as_json.isascii() and json.loads(as_json)["name"] == changes.get("name", "tiny")


def test_notices_and_errors_of_voices(edgetts: Edgetts, tmp_path: Path) -> None:
    ready = next(iter(read_manifest(builtin_pack()).ready_voices().values()))
    voice = dataclasses.replace(Voice.load(builtin_pack() / ready), notices=(ESCAPES,), name=ESCAPES)
    file = voice.save(tmp_path / "v.safetensors")
    added = edgetts("voices", "add", "anna", file)
    shown = edgetts("voices", "show", "anna")
    for result in (added, shown):
        assert result.exit_code == 0 and is_plain(result.stdout) and is_plain(result.stderr), result.output
    assert "\\x1b[2J" in shown.stdout and "\\u202etxt." in added.stderr
    other = dataclasses.replace(voice, encoder_id="\x1b" * 64).save(tmp_path / "\x1b[2J\u202e.safetensors")
    for wrong in (other, tmp_path / "\x1b[31mabsent\n.wav"):
        result = edgetts("say", "Hi.", "--voice", wrong, "-o", tmp_path / "x.wav")
        assert result.exit_code and is_plain(result.stderr) and result.stderr.count("\n") == 1, result.stderr


def test_info_verifies_what_the_memory_of_checks_would_pass(edgetts: Edgetts, tmp_path: Path) -> None:
    pack = copy_tree(builtin_pack(), tmp_path / "a.pack")
    assert json.loads(edgetts("info", pack, "--verify", "--json").stdout)["verified"]
    assert "all checksums match" in edgetts("info", pack, "--verify").stdout
    content = (pack / "lexicon.txt").read_bytes()
    replace(pack / "lexicon.txt", content[:-2] + b"X" + content[-1:])
    result = edgetts("info", pack, "--verify")
    assert result.exit_code == 1 and "lexicon.txt was altered" in result.stderr
    assert edgetts("info", pack).exit_code == 0
