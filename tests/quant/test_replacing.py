"""A pack takes the place of another whole or not at all, whenever the work is stopped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.pack_folders import PLANNED, Make, documents, fill, tree

from edgetts.errors import EdgeTTSError, PackError, UsageError
from edgetts.pack.entries import MANIFEST_FILE, READY_VOICES
from edgetts.quant import folders, staging, target
from edgetts.quant.staging import StagingFolder, finish_removal, remove_pack
from edgetts.quant.target import MARK, MARK_FILE, check_target


def test_a_pack_is_replaced_and_only_it(small: Make, tmp_path: Path) -> None:
    small(tmp_path / "out")
    documents(tmp_path / "docs")
    with pytest.raises(UsageError, match="force="):
        fill(tmp_path / "out", force=False)
    fill(tmp_path / "out")
    assert tree(tmp_path / "out") == {"gpt.safetensors": b"new"}
    assert {p.name for p in tmp_path.iterdir()} == {"out", "docs"}


@pytest.mark.parametrize("can_swap", [True, False])
def test_replacing_without_the_system_call(
    small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_swap: bool
) -> None:
    if not can_swap:
        monkeypatch.setattr(folders, "_renameat2", lambda *_: False)
    small(tmp_path / "out")
    fill(tmp_path / "out")
    assert tree(tmp_path) == {"out": None, "out/gpt.safetensors": b"new"}


def test_killed_before_the_old_pack_is_removed(small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    small(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(staging, "_discard", die)
        with pytest.raises(Killed):
            fill(tmp_path / "out")
    assert (tmp_path / "out" / "gpt.safetensors").read_bytes() == b"new"
    assert (tmp_path / ".out.partial" / MANIFEST_FILE).exists()
    (tmp_path / "out").rename(tmp_path / "first")
    fill(tmp_path / "out")
    assert tree(tmp_path / "out") == {"gpt.safetensors": b"new"}
    assert {p.name for p in tmp_path.iterdir()} == {"out", "first"}


def test_what_appears_during_the_work_survives(small: Make, tmp_path: Path) -> None:
    at = small(tmp_path / "out")
    folder = StagingFolder(check_target(at, force=True), PLANNED)
    with folder.create("gpt.safetensors") as file:
        file.write(b"new")
    (at / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="notes"):
        folder.publish(force=True)
    (at / "notes.txt").rename(tmp_path / "notes.txt")
    at.rename(tmp_path / "real")
    (tmp_path / "out").symlink_to("real")
    with pytest.raises(UsageError, match="symbolic link"):
        folder.publish(force=True)
    (tmp_path / "out").unlink()
    (tmp_path / ".out.partial" / "mine.txt").write_text("dear")
    with pytest.raises(UsageError, match=r"holds 'mine\.txt'"):
        folder.discard()
    assert (tmp_path / ".out.partial" / "mine.txt").read_text() == "dear"
    assert (tmp_path / "real" / MANIFEST_FILE).exists()
    folder.close()


def test_another_folder_at_the_last_moment(small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the last look and the swap another folder takes the name: it comes back, whole."""
    at = small(tmp_path / "out")
    exchange = staging.exchange
    calls = []

    def too_late(parent: int, one: str, other: str) -> bool:
        if not calls:
            at.rename(tmp_path / "away")
            documents(at)
        calls.append(one)
        return exchange(parent, one, other)

    monkeypatch.setattr(staging, "exchange", too_late)
    with pytest.raises(UsageError, match="replaced by another program"):
        fill(at)
    assert (at / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "away" / MANIFEST_FILE).exists()


def test_files_are_made_anew(tmp_path: Path) -> None:
    """A file that shares its bytes with another is never written into."""
    folder = StagingFolder(tmp_path / "out", PLANNED)
    (tmp_path / "victim").write_text("dear")
    os.link(tmp_path / "victim", folder.path / "gpt.safetensors")
    with folder.create("gpt.safetensors") as file:
        file.write(b"new")
    (tmp_path / "elsewhere").mkdir()
    (folder.path / "voices").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), folder.create("voices/anna.safetensors"):
        pass
    (folder.path / "s2mel.safetensors").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError), folder.create("s2mel.safetensors"):
        pass
    assert (tmp_path / "victim").read_text() == "dear" and not list((tmp_path / "elsewhere").iterdir())
    folder.close()


def test_only_one_writer(tmp_path: Path) -> None:
    first = StagingFolder(tmp_path / "out", PLANNED)
    with pytest.raises(PackError, match="Another process"):
        StagingFolder(tmp_path / "out", PLANNED)
    first.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_removal_is_finished_or_left_alone(small: Make, tmp_path: Path) -> None:
    at = small(tmp_path / "a")
    remove_pack(at)
    assert list(tmp_path.iterdir()) == []
    at = small(tmp_path / "a")
    (at / MARK_FILE).write_text(f"{MARK}\n{target.DISCARDED}\n{MANIFEST_FILE}\ngpt.safetensors\n")
    with pytest.raises(UsageError, match="could not be removed"):
        finish_removal(at)
    assert not (at / MANIFEST_FILE).exists() and (at / "s2mel.safetensors").exists()
    before = tree(documents(tmp_path / "docs"))
    (tmp_path / "link").symlink_to("docs")
    for path in (tmp_path / "docs", tmp_path / "link", tmp_path / "none"):
        finish_removal(path)
    with pytest.raises((EdgeTTSError, OSError)):
        remove_pack(tmp_path / "link")
    assert tree(tmp_path / "docs") == before


@pytest.mark.parametrize("name", ["tokenizer.json", f"{READY_VOICES}anna.safetensors", MANIFEST_FILE])
def test_what_was_written_over_since_is_not_thrown_away(small: Make, tmp_path: Path, name: str) -> None:
    pack = small(tmp_path / "out")
    (pack / name).write_bytes(b"my own work of a week")
    before = tree(pack)
    with pytest.raises(UsageError, match="left alone"):
        fill(pack)
    assert tree(pack) == before


def test_a_pack_with_torn_weights_is_replaced(small: Make, tmp_path: Path) -> None:
    pack = small(tmp_path / "out")
    (pack / "gpt.safetensors").write_bytes(b"")
    fill(pack)
    assert (pack / "gpt.safetensors").read_bytes() == b"new"
