"""A family is data: packs say theirs, are read by its own dataclasses, and are refused where they are of another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgetts.errors import PackError
from edgetts.families import ALL_COMPONENTS, FAMILIES, UNNAMED_FAMILY, family_of
from edgetts.families.indextts2.dims import INDEXTTS_2, IndexTTS2Config
from edgetts.families.indextts25.dims import INDEXTTS_25
from edgetts.pack.checksum import CHECKSUM, sealed
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pack.manifest import manifest_json, parse_manifest


def changed(**keys: Any) -> bytes:
    """The built-in pack's manifest with other entries, and the right checksum; None takes an entry out."""
    table = json.loads((Path(builtin_pack()) / "manifest.json").read_text())
    del table[CHECKSUM]
    table = {key: value for key, value in {**table, **keys}.items() if keys.get(key, "") is not None}
    return json.dumps(sealed(table)).encode()


def test_the_families() -> None:
    assert list(FAMILIES) == ["indextts-2", "indextts-2.5"]
    assert UNNAMED_FAMILY == "indextts-2"
    assert set(ALL_COMPONENTS) == set(INDEXTTS_2.components) | set(INDEXTTS_25.components)
    assert {f.model.family: f for f in FAMILIES.values()} == FAMILIES


def test_a_pack_without_a_family_is_the_first() -> None:
    manifest = parse_manifest(changed(family=None), "it")
    assert manifest.family == "indextts-2" and isinstance(manifest.model, IndexTTS2Config)
    assert family_of(manifest.model) is INDEXTTS_2
    assert json.loads(manifest_json(manifest))["family"] == "indextts-2"


def test_a_pack_of_one_family_is_not_read_as_the_other() -> None:
    with pytest.raises(PackError) as caught:
        parse_manifest(changed(family="indextts-2.5"), "it")
    assert str(caught.value) == (
        "it says that it describes IndexTTS-2.5, but its components are those of IndexTTS-2; make the pack again with "
        "`edgetts convert CHECKPOINT PACK`."
    )


@pytest.mark.parametrize(
    ("family", "said"),
    [("indextts-1.5", "IndexTTS-1.5, which this version cannot run"), ("other", "unknown family 'other'"), (3, "3")],
)
def test_other_families_are_refused_with_those_that_run(family: Any, said: str) -> None:
    with pytest.raises(PackError) as caught:
        parse_manifest(changed(family=family), "it")
    assert said in str(caught.value) and "indextts-2 or indextts-2.5" in str(caught.value)


def test_a_pack_names_its_own_components_only() -> None:
    with pytest.raises(PackError, match="no component 'codec_decoder'; there are semantic_encoder"):
        open_pack(builtin_pack()).shapes("codec_decoder")


def test_only_the_families_ask_which_family_it_is() -> None:
    root = Path(__file__).resolve().parents[2]
    sources = [p for name in ("edgetts", "quant") for p in (root / name).rglob("*.py") if "families" not in p.parts]
    named = [p.name for p in sources for family in FAMILIES if f'"{family}"' in p.read_text(encoding="utf-8")]
    assert named == []
