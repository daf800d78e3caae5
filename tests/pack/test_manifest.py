from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import copy_tree, replace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgetts.errors import PackError
from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.pack import manifest as manifests
from edgetts.pack.checksum import sealed
from edgetts.pack.manifest import manifest_json, parse_manifest, read_manifest


def table_of(pack: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((pack / "manifest.json").read_text())
    return table


def written(table: Any) -> bytes:
    """A manifest that was changed on purpose: its checksum is right, where its values can have one."""
    with contextlib.suppress(ValueError):  # an infinite number
        table = sealed(table) if isinstance(table, dict) else table
    return json.dumps(table).encode()


def refusal(table: Any) -> str:
    with pytest.raises(PackError) as error:
        parse_manifest(written(table), "manifest.json")
    return str(error.value)


def test_reads_back_what_was_written(mini_pack: Path) -> None:
    manifest = read_manifest(mini_pack)
    assert parse_manifest(manifest_json(manifest).encode(), "copy") == manifest
    assert manifest.family == "indextts-2"
    assert manifest.model.gpt.n_layers == 4
    assert set(manifest.components) == set(INDEXTTS_2.components)
    assert manifest.total_bytes == sum((mini_pack / name).stat().st_size for name in manifest.files)


def test_every_kind_of_trouble_has_its_own_sentence(mini_pack: Path, tmp_path: Path) -> None:
    good = table_of(mini_pack)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.yaml").write_text("version: 2.0")
    sentences = []
    for name in ("absent", "empty", "file", "checkpoint"):
        with pytest.raises(PackError) as error:
            read_manifest(tmp_path / name)
        sentences.append(str(error.value).replace(str(tmp_path / name), "X"))
    sentences += [
        refusal(good | {"format": "other"}),
        refusal(good | {"format_version": 4}),
        refusal(good | {"format_version": "2"}),
        refusal(good | {"family": "indextts-2.5"}),
        refusal(good | {"family": "piper"}),
        refusal(good | {"surplus": 1}),
        refusal([]),
    ]
    for data in (b"", b"\xff\xfe", b"{", b'{"a":1,"a":2}', b'{"a": NaN}', b"[" * 200_000, b"1" * 10_000):
        with pytest.raises(PackError):
            parse_manifest(data, "manifest.json")
    assert len(set(sentences)) == len(sentences)
    assert "newer" in sentences[5] and "upgrade" in sentences[5]
    assert "IndexTTS-2.5" in sentences[7]
    assert "edgetts convert" in sentences[3]


def test_a_manifest_of_many_megabytes_is_not_read(mini_pack: Path, tmp_path: Path) -> None:
    pack = copy_tree(mini_pack, tmp_path / "pack")
    replace(pack / "manifest.json", b" " * (manifests.MAX_MANIFEST_BYTES + 1))
    with pytest.raises(PackError, match="bytes long"):
        read_manifest(pack)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../b", "a/b/c", "", ".hidden", "C:\\x", "a\x00b", "..", "x/..", 3, None]
)
def test_file_names_cannot_leave_the_pack(mini_pack: Path, name: Any) -> None:
    table = table_of(mini_pack)
    table["components"]["gpt"]["file"] = name
    if isinstance(name, str):
        table["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    assert "not a plain file name inside the pack" in refusal(table)


def test_lists_all_problems_at_once(mini_pack: Path) -> None:
    table = table_of(mini_pack)
    del table["license"], table["components"]["gpt"]["dtype"], table["components"]["vocoder"]
    table["files"]["gpt.safetensors"]["bytes"] = -1
    table["components"]["s2mel"]["schemes"] = [{"scheme": "int3", "group_size": 0, "tensors": [1]}]
    message = refusal(table)
    for part in (
        "missing key license",
        "missing key components.gpt.dtype",
        "missing key components.vocoder",
        "files.gpt.safetensors.bytes",
        "'int3'",
        "group_size",
        "tensor names",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("gpt", "n_layers"), 10**9),
        (("gpt", "model_dim"), 10**30),
        (("gpt", "n_heads"), -1),
        (("speaker_encoder", "block_layers"), [10**9]),
        (("vocoder", "upsample_rates"), [1] * 10_000),
    ],
)
def test_sizes_that_would_never_end_are_refused(mini_pack: Path, path: tuple[str, str], value: Any) -> None:
    table = table_of(mini_pack)
    table["model"][path[0]][path[1]] = value
    assert path[1] in refusal(table)


def test_unknown_and_missing_dimensions_are_listed(mini_pack: Path) -> None:
    table = table_of(mini_pack)
    del table["model"]["gpt"]["n_heads"]
    table["model"]["gpt"]["flash"] = True
    message = refusal(table)
    assert "unknown key gpt.flash" in message and "missing key gpt.n_heads" in message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*path, key))
    return found


fuzzing = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzzing
@given(seed=st.integers(0, 2**32), value=json_values)
def test_fuzz_one_value(mini_pack: Path, seed: int, value: Any) -> None:
    """Whatever stands in whatever place: a manifest is read, or refused with a PackError."""
    table = table_of(mini_pack)
    *parents, last = random.Random(seed).choice(_places(table)[1:])
    inner = table
    for key in parents:
        inner = inner[key]
    inner[last] = value
    try:
        parse_manifest(written(table), "manifest.json")
    except PackError as error:
        assert str(error).endswith(".") and "\n" not in str(error)


def test_a_key_with_a_line_break_makes_no_second_line(mini_pack: Path) -> None:
    table = table_of(mini_pack)
    table["model"]["gpt"] = {"\n": -1}
    table["components"]["a\nb"] = table["files"]["c\nd"] = 3
    with pytest.raises(PackError) as caught:
        parse_manifest(written(table), "manifest.json")
    assert "\n" not in str(caught.value)
    table = table_of(mini_pack)
    table["model"]["gpt"]["\n"] = 1
    with pytest.raises(PackError) as caught:
        parse_manifest(written(table), "manifest.json")
    assert "\n" not in str(caught.value)


@fuzzing
@given(seed=st.integers(0, 2**32), data=st.binary(min_size=1, max_size=8))
def test_fuzz_bytes(mini_pack: Path, seed: int, data: bytes) -> None:
    content = bytearray((mini_pack / "manifest.json").read_bytes())
    place = random.Random(seed).randrange(len(content))
    content[place : place + len(data)] = data
    with contextlib.suppress(PackError):
        parse_manifest(bytes(content), "manifest.json")


@fuzzing
@given(st.binary(max_size=200))
def test_fuzz_anything(data: bytes) -> None:
    with pytest.raises(PackError):
        parse_manifest(data, "manifest.json")


def test_features_that_a_model_lacks_are_optional_and_known(mini_pack: Path) -> None:
    table = table_of(mini_pack)
    assert "without" not in table and read_manifest(mini_pack).without == ()
    lacking = parse_manifest(written(table | {"without": ["emotion"]}), "it")
    assert lacking.without == ("emotion",) and parse_manifest(manifest_json(lacking).encode(), "copy") == lacking
    for wrong in ("emotion", ["singing"], [1], {"emotion": True}, None):
        assert "without must be a list of emotion" in refusal(table | {"without": wrong})
