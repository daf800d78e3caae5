"""The model of spelling: what it learns from a few words, and files that are not what they should be."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import edgetts
from edgetts.errors import PackError
from edgetts.pack.entries import MANIFEST_FILE, PRONOUNCER_FILE, FileEntry
from edgetts.pack.load import open_pack
from edgetts.pack.manifest import FORMAT, manifest_json
from edgetts.pack.text import MAX_PRONOUNCER_BYTES, tokenizer_of
from edgetts.text.frontend import TextFrontend
from edgetts.text.pronouncer import MAX_LETTERS, PAIRS, Pronouncer

TINY = Path(edgetts.__file__).parent / "builtin" / "tiny"
Tables = dict[str, Any]


def read() -> tuple[Tables, dict[str, str]]:
    from edgetts.pack.header import METADATA, tensor_header

    path = TINY / PRONOUNCER_FILE
    return load_file(path), dict(tensor_header(path)[METADATA])


@pytest.fixture(scope="module")
def shipped() -> tuple[Tables, dict[str, str]]:
    return read()


@pytest.fixture(scope="module")
def pronouncer(shipped: tuple[Tables, dict[str, str]]) -> Pronouncer:
    return Pronouncer(*shipped, "shipped")


def test_made_up_words_sound_as_they_are_spelled(pronouncer: Pronouncer) -> None:
    assert pronouncer.phones("BLICKET") == "blˈɪkɪt"
    assert pronouncer.phones("DRAFT") == "dɹæft"
    assert pronouncer.phones("PHANTOM") == "fˈæntəm"


def test_words_without_an_answer_have_none(pronouncer: Pronouncer) -> None:
    for word in ("", "blicket", "CAFÉ", "A B", "X" * (MAX_LETTERS + 1)):
        assert pronouncer.phones(word) is None
    assert pronouncer.phones("X" * MAX_LETTERS) is not None


def test_it_says_only_phones_of_the_inventory(pronouncer: Pronouncer) -> None:
    tokenizer = tokenizer_of(open_pack(TINY))
    assert all(tokenizer.has_piece(phone) for phone in pronouncer.phones_used)


def test_it_takes_at_most_a_megabyte() -> None:
    assert (TINY / PRONOUNCER_FILE).stat().st_size <= 1_000_000


def _shorter(name: str) -> Callable[[Tables, dict[str, str]], None]:
    return lambda tables, _: tables.__setitem__(name, tables[name][:-1])


def _changed(name: str, at: int, value: int) -> Callable[[Tables, dict[str, str]], None]:
    def change(tables: Tables, _metadata: dict[str, str]) -> None:
        tables[name] = tables[name].copy()
        tables[name][at] = value

    return change


FAULTS: dict[str, tuple[Callable[[Tables, dict[str, str]], None], str]] = {
    "a missing table": (lambda t, m: t.pop("chances.3"), "its tables are"),
    "one table too many": (lambda t, m: t.update({"extra": t["chances.3"]}), "its tables are"),
    "a short table": (_shorter("chances.3"), "do not fit together"),
    "too few n-grams": (lambda t, m: [_shorter(f"{p}.7")(t, m) for p in ("symbols", "chances")], "are announced"),
    "too many children": (_changed("children.2", 5, 255), "are announced"),
    "an unknown symbol": (_changed("symbols.3", 7, 255), "do not fit together"),
    "single pairs in another order": (_changed("symbols.1", 0, 1), "single pairs"),
    "another type": (lambda t, m: t.update({"chances.2": t["chances.2"].astype(np.int16)}), "no list of bytes"),
    "another shape": (lambda t, m: t.update({"chances.2": t["chances.2"][None]}), "no list of bytes"),
    "no pairs": (lambda t, m: m.pop(PAIRS), "not a letter and its phones"),
    "a pair of two letters": (lambda t, m: m.update({PAIRS: m[PAIRS] + "\nAB\tx"}), "not a letter and its phones"),
    "a pair twice": (lambda t, m: m.update({PAIRS: m[PAIRS] + "\n" + m[PAIRS].split("\n")[0]}), "not distinct"),
    "too many pairs": (
        lambda t, m: m.update({PAIRS: "\n".join([m[PAIRS], *(f"{chr(0x4E00 + n)}\tx" for n in range(300))])}),
        "too many",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_tables_that_do_not_fit_together_are_refused(shipped: tuple[Tables, dict[str, str]], fault: str) -> None:
    change, message = FAULTS[fault]
    tables, metadata = dict(shipped[0]), dict(shipped[1])
    change(tables, metadata)
    with pytest.raises(PackError, match=f"shelf/model is damaged .*{message}.*: fetch the pack again"):
        Pronouncer(tables, metadata, "shelf/model")


def altered(folder: Path, data: bytes | None) -> Path:
    """The built-in pack with another pronouncer, in its manifest too; None: without one."""
    pack = folder / "pack"
    shutil.copytree(TINY, pack)
    (pack / PRONOUNCER_FILE).unlink()
    manifest = open_pack(TINY).manifest
    files = {name: entry for name, entry in manifest.files.items() if name != PRONOUNCER_FILE}
    if data is not None:
        (pack / PRONOUNCER_FILE).write_bytes(data)
        files[PRONOUNCER_FILE] = FileEntry(len(data), hashlib.sha256(data).hexdigest())
    (pack / MANIFEST_FILE).write_text(manifest_json(dataclasses.replace(manifest, files=files)), encoding="utf-8")
    return pack


def test_a_pack_without_it_reads_letters(tmp_path: Path) -> None:
    frontend = TextFrontend(tokenizer_of(open_pack(altered(tmp_path, None), home=tmp_path)))
    assert "".join(frontend.segments("The zyxqua").segments[0].tokens) == "▁ðə▁ZYXQUA."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "pronouncer.safetensors"),
        (b"\x00" * 100, "not a valid tensor file|another program"),
        (b"\xff" * 64, "not a valid tensor file"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "another program"),
        (bytes(MAX_PRONOUNCER_BYTES + 1), f"at most {MAX_PRONOUNCER_BYTES} are allowed"),
    ],
    ids=["empty", "zeros", "ones", "no metadata", "too large"],
)
def test_files_that_are_no_pronouncer_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(PackError, match=message):
        tokenizer_of(open_pack(altered(tmp_path, data), home=tmp_path))


def test_phones_that_the_tokenizer_lacks_are_refused(tmp_path: Path, shipped: tuple[Tables, dict[str, str]]) -> None:
    tables, metadata = shipped
    path = tmp_path / "other.safetensors"
    save_file(tables, path, metadata={**metadata, "format": FORMAT, PAIRS: metadata[PAIRS].replace("\tn", "\tñ", 1)})
    with pytest.raises(PackError, match="says ñ, for which the pack's tokenizer has no piece"):
        tokenizer_of(open_pack(altered(tmp_path, path.read_bytes()), home=tmp_path))
