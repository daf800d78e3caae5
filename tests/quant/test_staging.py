"""Making a pack removes, empties and follows nothing that it did not make."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgetts.errors import EdgeTTSError, PackError, UsageError
from edgetts.pack.entries import MANIFEST_FILE, READY_VOICES, FileEntry
from edgetts.pack.manifest import manifest_json, read_manifest
from quant import folders, staging, target
from quant.checkpoint import glossary_of
from quant.convert import convert
from quant.quantize import quantize
from quant.staging import StagingFolder, finish_removal, remove_pack
from quant.target import MARK, MARK_FILE, check_target

PLANNED = ("gpt.safetensors", "s2mel.safetensors", MANIFEST_FILE)


@pytest.fixture
def small(mini_pack: Path) -> Callable[[Path], Path]:
    """Makes what counts as a pack: its manifest, and a few bytes under each name in it."""

    def make(folder: Path) -> Path:
        manifest = read_manifest(mini_pack)
        names = (*manifest.files, f"{READY_VOICES}anna.safetensors")
        files = dict.fromkeys(names, FileEntry(1, hashlib.sha256(b"x").hexdigest()))
        (folder / READY_VOICES).mkdir(parents=True)
        for name in files:
            (folder / name).write_bytes(b"x")
        (folder / MANIFEST_FILE).write_text(manifest_json(dataclasses.replace(manifest, files=files)))
        return folder

    return make


def tree(folder: Path) -> dict[str, object]:
    """Everything in a folder: content of files, where links lead, which folders there are."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def fill(path: Path, force: bool = True) -> None:
    """Put a pack of one file at `path`, as the writer does."""
    folder = StagingFolder(check_target(path, force=force), PLANNED)
    with folder.create("gpt.safetensors") as file:
        file.write(b"new")
    folder.publish(force=force)


def documents(folder: Path) -> Path:
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    return folder


Make = Callable[[Path], Path]
IN_THE_WAY: dict[str, tuple[Callable[[Path, Make], object], str]] = {
    "a link to documents at the hidden name": (
        lambda at, _: (at / ".out.partial").symlink_to(documents(at / "docs")),
        r"\.out\.partial is needed to work in, but was not made by",
    ),
    "a dangling link at the hidden name": (lambda at, _: (at / ".out.partial").symlink_to("none"), "left alone"),
    "a link to itself at the hidden name": (
        lambda at, _: (at / ".out.partial").symlink_to(".out.partial"),
        "left alone",
    ),
    "a folder without our mark": (lambda at, _: documents(at / ".out.partial"), "left alone"),
    "an empty folder without our mark": (lambda at, _: (at / ".out.partial").mkdir(), "left alone"),
    "a file at the hidden name": (lambda at, _: (at / ".out.partial").write_text("x"), "left alone"),
    "a pack at the hidden name": (lambda at, small: small(at / ".out.partial"), "left alone"),
    "a mark that names files outside": (
        lambda at, _: (documents(at / "docs"), documents(at / ".out.partial") / MARK_FILE)[1].write_text(
            f"{MARK}\n../docs/thesis.tex\nthesis.tex\n"
        ),
        "left alone",
    ),
    "a mark that is a link": (
        lambda at, _: (
            (at / "mark").write_text(f"{MARK}\nthesis.tex\n"),
            (documents(at / ".out.partial") / MARK_FILE).symlink_to("../mark"),
        ),
        "left alone",
    ),
    "a file of others beside our mark": (
        lambda at, _: (documents(at / ".out.partial") / MARK_FILE).write_text(f"{MARK}\ngpt.safetensors\n"),
        r"holds 'thesis\.tex', not made by edgetts",
    ),
    "a link under one of our names": (
        lambda at, _: (
            (at / ".out.partial").mkdir(),
            (at / "victim").write_text("dear"),
            (at / ".out.partial" / MARK_FILE).write_text(f"{MARK}\ngpt.safetensors\n"),
            (at / ".out.partial" / "gpt.safetensors").symlink_to("../victim"),
        ),
        r"holds 'gpt\.safetensors', not made",
    ),
    "the target is a link to a pack": (
        lambda at, small: (at / "out").symlink_to(small(at / "real")),
        "symbolic link to .*real",
    ),
    "the target is a link to an empty folder": (
        lambda at, _: ((at / "real").mkdir(), (at / "out").symlink_to("real")),
        "symbolic link to real",
    ),
    "the target is a dangling link": (lambda at, _: (at / "out").symlink_to("nowhere"), "symbolic link to nowhere"),
    "the target is a link to itself": (lambda at, _: (at / "out").symlink_to("out"), "symbolic link"),
    "the target is a file": (lambda at, _: (at / "out").write_text("x"), "is a file"),
    "the target holds documents": (lambda at, _: documents(at / "out"), "is no pack, so it is left alone"),
    "the manifest is a browser extension's": (
        lambda at, _: (documents(at / "out") / MANIFEST_FILE).write_text('{"manifest_version": 3, "name": "tabs"}'),
        "not of a pack of this program",
    ),
    "the manifest is a newer format's": (
        lambda at, _: (documents(at / "out") / MANIFEST_FILE).write_text(
            '{"format": "edgetts-pack", "format_version": 99}'
        ),
        "not of a pack of this program",
    ),
    "the manifest is damaged": (
        lambda at, _: (documents(at / "out") / MANIFEST_FILE).write_text("{"),
        "not of a pack of this program",
    ),
    "the manifest is a link": (
        lambda at, small: (documents(at / "out") / MANIFEST_FILE).symlink_to(small(at / "real") / MANIFEST_FILE),
        "not of a pack of this program",
    ),
    "my own file in the pack": (
        lambda at, small: (small(at / "out") / "notes.txt").write_text("x"),
        r"holds 'notes\.txt' besides",
    ),
    "my own hidden file in the pack": (
        lambda at, small: (small(at / "out") / ".git").mkdir(),
        r"holds '\.git' besides",
    ),
    "my own voice beside the pack's": (
        lambda at, small: (small(at / "out") / READY_VOICES / "me.safetensors").write_text("x"),
        r"holds 'voices/me\.safetensors' besides",
    ),
    "a link in place of a file of the pack": (
        lambda at, small: (
            (small(at / "out") / "gpt.safetensors").unlink(),
            (at / "victim").write_text("dear"),
            (at / "out" / "gpt.safetensors").symlink_to("../victim"),
        ),
        r"holds 'gpt\.safetensors' besides",
    ),
    "a link in place of the pack's folder of voices": (
        lambda at, small: (
            (small(at / "out") / READY_VOICES).rename(at / "mine"),
            (at / "out" / "voices").symlink_to("../mine"),
        ),
        "holds 'voices' besides",
    ),
}


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_what_is_not_ours_is_refused_by_name(small: Make, tmp_path: Path, what: str) -> None:
    make, words = IN_THE_WAY[what]
    make(tmp_path, small)
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=words) as caught:
        fill(tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert tree(tmp_path) == before


def test_a_conversion_fails_before_its_work(mini_checkpoint: Path, tmp_path: Path) -> None:
    """What is in the way is seen before the checkpoint is read."""
    (tmp_path / "out").symlink_to("nowhere")
    (tmp_path / ".pack.partial").symlink_to(documents(tmp_path / "docs"))
    (tmp_path / ".small.partial").symlink_to(tmp_path / "docs")
    before = tree(tmp_path)
    steps: list[str] = []
    for name in ("out", "pack"):
        with pytest.raises(UsageError):
            convert(mini_checkpoint, tmp_path / name, force=True, progress=lambda what, *_: steps.append(what))
    with pytest.raises(UsageError):
        quantize(mini_checkpoint, tmp_path / "small", "cpu-arm64", force=True)
    assert steps == [] and tree(tmp_path) == before


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda at, small: documents(at / ".out.reference"), "left alone"),
        (lambda at, small: (at / ".out.reference").symlink_to(documents(at / "docs")), "left alone"),
        (lambda at, small: (at / ".out.reference").mkdir(), "left alone"),
        (lambda at, small: small(at / ".out.reference"), "made for something else"),
    ],
    ids=["documents", "link", "empty", "another pack"],
)
def test_the_reference_of_quantizing_replaces_nothing(
    mini_checkpoint: Path, small: Make, tmp_path: Path, make: Callable[[Path, Make], object], words: str
) -> None:
    make(tmp_path, small)
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=words):
        quantize(mini_checkpoint, tmp_path / "out", "cpu-arm64")
    assert tree(tmp_path) == before


def test_places_that_a_pack_cannot_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    here = tmp_path / "here" / "deep"
    home.mkdir()
    here.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    for path, words in (
        (".", "the folder you are in"),
        ("", "the folder you are in"),
        ("..", "holds the folder you are in"),
        ("../../here", "holds the folder you are in"),
        ("/", "holds"),
        (home, "your home folder"),
        ("/proc", "mount point"),
        ("a\0b", "null"),
        ("x" * 250, "name too long"),
        (tmp_path / "loop" / "out", "[Ll]ink|loop|levels"),
        (tmp_path / "none" / "out", "symbolic link to nothing"),
        (tmp_path / "file" / "out", "is a file"),
    ):
        (tmp_path / "loop").unlink(missing_ok=True)
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "none").unlink(missing_ok=True)
        (tmp_path / "none").symlink_to("nowhere")
        (tmp_path / "file").write_text("x")
        with pytest.raises(UsageError, match=f"(?i){words}"):
            check_target(path, force=True)
    assert not (tmp_path / "nowhere").exists()


def test_source_and_target_stay_apart(small: Make, mini_checkpoint: Path, tmp_path: Path) -> None:
    pack = small(tmp_path / "a.pack")
    (tmp_path / "link").symlink_to(pack)
    for source in (pack, tmp_path / "link"):
        with pytest.raises(UsageError, match="read and replaced at once"):
            check_target(pack, force=True, source=source)
        with pytest.raises(UsageError, match="lies inside"):
            check_target(pack / "small", force=True, source=source)
    assert check_target(tmp_path / "b.pack", force=True, source=pack) == (tmp_path / "b.pack").resolve()


def test_links_in_parent_folders_are_resolved_first(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "packs").symlink_to("disk")
    fill(tmp_path / "packs" / "out")
    assert tree(tmp_path / "disk") == {"out": None, "out/gpt.safetensors": b"new"}
    assert (tmp_path / "packs").is_symlink()


def test_a_pack_is_replaced_and_only_it(small: Make, tmp_path: Path) -> None:
    small(tmp_path / "out")
    documents(tmp_path / "docs")
    with pytest.raises(UsageError, match="--force"):
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


def test_a_pipe_in_the_place_of_the_glossary_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "glossary.yaml")
    with pytest.raises(EdgeTTSError, match="is no file"):
        glossary_of(tmp_path)
