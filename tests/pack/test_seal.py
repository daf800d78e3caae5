"""A manifest says what its own content was: damage is found wherever it strikes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import copy_tree, replace

from edgetts.errors import PackError
from edgetts.pack.checksum import CHECKSUM, checksum, sealed
from edgetts.pack.locate import builtin_pack
from edgetts.pack.manifest import parse_manifest, read_manifest
from edgetts.pack.seal import main, seal

BUILTIN = builtin_pack() / "manifest.json"
N_FLIPS = 4000


def table_of(pack: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((pack / "manifest.json").read_text())
    return table


def test_a_flipped_bit_never_gives_another_model() -> None:
    """Any byte, any bit: the manifest is refused in one sentence, or says what it said before."""
    good = BUILTIN.read_bytes()
    manifest = parse_manifest(good, "manifest.json")
    draw = random.Random(5)
    # Where numbers stand a flip is most likely to give valid JSON: all of the model's table, and places elsewhere.
    start, end = good.index(b'"model"'), good.index(b'"text"')
    places = [(at, bit) for at in range(start, end) for bit in (0, 1, 2, 3)]
    places += [(draw.randrange(len(good)), draw.randrange(8)) for _ in range(N_FLIPS)]
    n_refused = 0
    for at, bit in places:
        flipped = bytearray(good)
        flipped[at] ^= 1 << bit
        try:
            assert parse_manifest(bytes(flipped), "manifest.json") == manifest
        except PackError as error:
            n_refused += 1
            assert str(error).startswith("manifest.json ") and "\n" not in str(error)
    assert n_refused == len(places)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model", "audio", "hop_length"), 216),
        (("model", "silence_code"), 204),
        (("defaults", "n_steps"), 7),
        (("text", "case"), "lower"),
        (("license",), "none"),
        (("files", "gpt.safetensors", "bytes"), 1),
        ((CHECKSUM,), "0" * 64),
        ((CHECKSUM,), None),
        ((CHECKSUM,), 3),
    ],
)
def test_an_edit_by_hand_is_refused(path: tuple[str, ...], value: Any) -> None:
    table = json.loads(BUILTIN.read_bytes())
    inner = table
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(PackError, match="was altered after the pack was made"):
        parse_manifest(json.dumps(table).encode(), "manifest.json")


def test_the_checksum_cannot_be_left_out() -> None:
    table = json.loads(BUILTIN.read_bytes())
    del table[CHECKSUM]
    with pytest.raises(PackError, match="altered"):
        parse_manifest(json.dumps(table).encode(), "manifest.json")


def test_layout_and_order_do_not_count() -> None:
    table = json.loads(BUILTIN.read_bytes())
    turned = json.dumps(dict(reversed(table.items())), indent=7).encode()
    assert parse_manifest(turned, "manifest.json") == read_manifest(BUILTIN.parent)


def test_packs_of_the_first_format_are_read_as_they_are() -> None:
    """They have no checksum, and may not have one: a flipped version cannot switch the check off."""
    table = json.loads(BUILTIN.read_bytes())
    del table[CHECKSUM]
    old = parse_manifest(json.dumps(table | {"format_version": 1}).encode(), "manifest.json")
    assert old == read_manifest(BUILTIN.parent)
    with pytest.raises(PackError, match="unknown key 'checksum'"):
        parse_manifest(json.dumps(sealed(table | {"format_version": 1})).encode(), "manifest.json")


def test_sealing_renews_the_checksum_and_the_format_alone(tmp_path: Path) -> None:
    pack = copy_tree(BUILTIN.parent, tmp_path / "pack")
    before = table_of(pack)
    changed = before | {"name": "other", "format_version": 1}
    del changed[CHECKSUM]
    replace(pack / "manifest.json", json.dumps(changed).encode())
    assert seal(pack)
    after = table_of(pack)
    assert after == sealed(before | {"name": "other"}) and after[CHECKSUM] == checksum(after)
    assert read_manifest(pack).name == "other"
    assert not seal(pack)
    assert not list(pack.glob(".*"))


@pytest.mark.parametrize("version", [1, 2])
def test_packs_with_the_old_spelling_of_license_are_read_and_sealed_anew(tmp_path: Path, version: int) -> None:
    pack = copy_tree(BUILTIN.parent, tmp_path / "pack")
    now = table_of(pack)
    old = {{"license": "licence"}.get(key, key): value for key, value in now.items() if key != CHECKSUM}
    old["format_version"] = version
    replace(pack / "manifest.json", json.dumps(sealed(old) if version > 1 else old).encode())
    assert read_manifest(pack) == read_manifest(BUILTIN.parent)
    assert seal(pack)
    assert table_of(pack) == now


def test_the_old_spelling_is_unknown_in_the_present_format(tmp_path: Path) -> None:
    pack = copy_tree(BUILTIN.parent, tmp_path / "pack")
    table = table_of(pack)
    table["licence"] = table.pop("license")
    replace(pack / "manifest.json", json.dumps(sealed(table)).encode())
    with pytest.raises(PackError, match="unknown key 'licence'"):
        read_manifest(pack)


def test_what_would_not_be_read_is_not_sealed(tmp_path: Path) -> None:
    pack = copy_tree(BUILTIN.parent, tmp_path / "pack")
    replace(pack / "manifest.json", json.dumps(table_of(pack) | {"surplus": 1}).encode())
    content = (pack / "manifest.json").read_bytes()
    with pytest.raises(PackError, match="surplus"):
        seal(pack)
    assert (pack / "manifest.json").read_bytes() == content


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2 and main([str(tmp_path / "absent")]) == 1
    assert capsys.readouterr().err.count("\n") == 2
    run = subprocess.run(
        [sys.executable, "-m", "edgetts.pack.seal", str(BUILTIN.parent)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0 and "was sealed already" in run.stdout and not run.stderr
