"""Making a pack removes, empties and follows nothing that it did not make."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.pack_folders import Make, documents, fill, tree

from edgetts.errors import EdgeTTSError, UsageError
from edgetts.pack.entries import MANIFEST_FILE, READY_VOICES
from edgetts.pack.locate import builtin_pack
from edgetts.quant.checkpoint import glossary_of
from edgetts.quant.convert import convert
from edgetts.quant.quantize import quantize
from edgetts.quant.target import MARK, MARK_FILE, check_target

IN_THE_WAY: dict[str, tuple[Callable[[Path, Make], object], str]] = {
    "a link to documents at the hidden name": (
        lambda at, _: (at / ".out.partial").symlink_to(documents(at / "docs")),
        r"\.out\.partial is needed as a work folder, but was not made by",
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
    "the target holds documents": (lambda at, _: documents(at / "out"), "is not a pack and holds other files"),
    "the manifest is a browser extension's": (
        lambda at, _: (documents(at / "out") / MANIFEST_FILE).write_text('{"manifest_version": 3, "name": "tabs"}'),
        "not one of an edgetts pack",
    ),
    "the manifest is a newer format's": (
        lambda at, _: (documents(at / "out") / MANIFEST_FILE).write_text(
            '{"format": "edgetts-pack", "format_version": 99}'
        ),
        "not one of an edgetts pack",
    ),
    "the manifest is damaged": (
        lambda at, _: (documents(at / "out") / MANIFEST_FILE).write_text("{"),
        "not one of an edgetts pack",
    ),
    "the manifest is a link": (
        lambda at, small: (documents(at / "out") / MANIFEST_FILE).symlink_to(small(at / "real") / MANIFEST_FILE),
        "not one of an edgetts pack",
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


# The mini model cannot enroll; a voice file is looked at only after the folders.
VOICE = builtin_pack() / "voices" / "am_michael.safetensors"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda at, small: documents(at / ".out.reference"), "left alone"),
        (lambda at, small: (at / ".out.reference").symlink_to(documents(at / "docs")), "left alone"),
        (lambda at, small: (at / ".out.reference").mkdir(), "left alone"),
        (lambda at, small: small(at / ".out.reference"), "holds another pack"),
    ],
    ids=["documents", "link", "empty", "another pack"],
)
def test_the_reference_of_quantizing_replaces_nothing(
    mini_checkpoint: Path, small: Make, tmp_path: Path, make: Callable[[Path, Make], object], words: str
) -> None:
    make(tmp_path, small)
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=words):
        quantize(mini_checkpoint, tmp_path / "out", "cpu-arm64", voice=VOICE)
    assert tree(tmp_path) == before


def test_places_that_a_pack_cannot_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    here = tmp_path / "here" / "deep"
    home.mkdir()
    here.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    for path, words in (
        (".", "the current folder"),
        ("", "the current folder"),
        ("..", "holds the current folder"),
        ("../../here", "holds the current folder"),
        ("/", "holds"),
        (home, "your home folder"),
        ("/proc", "mount point"),
        ("a\0b", "null"),
        ("x" * 250, "name too long"),
        (tmp_path / "loop" / "out", "[Ll]ink|loop|levels"),
        (tmp_path / "none" / "out", "broken symbolic link"),
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


def test_a_pipe_in_the_place_of_the_glossary_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "glossary.yaml")
    with pytest.raises(EdgeTTSError, match="is not a file"):
        glossary_of(tmp_path)
