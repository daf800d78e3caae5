"""Only files of the same kind are overwritten, and none that is read at the same time."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgetts.audio.formats import FORMATS, SOUND
from edgetts.audio.overwrite import PAGE, SUBTITLES, Kind, check_apart, check_kind
from edgetts.audio.writer import encode, sound_file
from edgetts.errors import UsageError

RATE = 22_050
TEXT = b"\\documentclass{thesis}"


def some_samples() -> np.ndarray:
    return np.sin(np.arange(RATE // 2, dtype=np.float32) / 20) / 2


@pytest.mark.parametrize("name", ["thesis.tex", "thesis", "notes.md", ".bashrc", "photo.wav.png"])
@pytest.mark.parametrize("kind", [SOUND, SUBTITLES, PAGE])
def test_a_file_of_another_kind_is_left_alone(tmp_path: Path, name: str, kind: Kind) -> None:
    (tmp_path / name).write_bytes(TEXT)
    link = tmp_path / f"link{kind.suffixes[0]}"
    link.symlink_to(name)
    for path in (tmp_path / name, link):
        with pytest.raises(UsageError, match=f"is not {kind.what}, so it is left alone"):
            check_kind(path, kind)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pcm"])
def test_sound_under_any_name_may_be_made_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / "take.7"
    try:
        path.write_bytes(encode(some_samples(), RATE, FORMATS[name]))
    except UsageError:
        pytest.skip(f"this libsndfile writes no {name}")
    check_kind(path, SOUND)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.wav", TEXT, SOUND),
        ("a.PCM", TEXT, SOUND),
        ("empty.tex", b"", SOUND),
        ("a.vtt", TEXT, SUBTITLES),
        ("subs", b"WEBVTT\n", SUBTITLES),
        ("subs", b"1\r\n00:00:00,000 --> 00:00:01,000\r\nHi\r\n", SUBTITLES),
        ("page", b"\n<!DOCTYPE html>", PAGE),
    ],
)
def test_what_may_be_replaced(tmp_path: Path, name: str, content: bytes, kind: Kind) -> None:
    (tmp_path / name).write_bytes(content)
    check_kind(tmp_path / name, kind)


def test_devices_and_names_that_are_free_are_no_files() -> None:
    check_kind(os.devnull, SOUND)
    check_kind("/nowhere/at/all.txt", SOUND)


def test_the_library_leaves_other_files_alone_too(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_bytes(TEXT)
    (tmp_path / "link.wav").symlink_to("thesis.tex")
    with (
        pytest.raises(UsageError, match=r"a link to .*thesis\.tex"),
        sound_file(tmp_path / "link.wav", RATE, FORMATS["wav"]) as writer,
    ):
        writer.write(some_samples())
    with (
        pytest.raises(UsageError, match="left alone"),
        sound_file(tmp_path / "thesis.tex", RATE, FORMATS["wav"]) as writer,
    ):
        writer.write(some_samples())
    assert (tmp_path / "thesis.tex").read_bytes() == TEXT


def test_what_is_read_is_not_written(tmp_path: Path) -> None:
    me = tmp_path / "me.wav"
    me.write_bytes(TEXT)
    os.link(me, tmp_path / "hard.wav")
    (tmp_path / "soft.wav").symlink_to("me.wav")
    (tmp_path / "folder").symlink_to(".")
    for name in ("me.wav", "hard.wav", "soft.wav", "folder/me.wav"):
        with pytest.raises(UsageError, match=r"^-o and --voice are one file, .*: give -o another name"):
            check_apart({"-o": tmp_path / name}, {"--emotion-voice": None, "--voice": str(me)})
    check_apart({"-o": tmp_path / "other.wav", "--srt": tmp_path / "me.srt"}, {"--voice": str(me)})
    check_apart({"-o": os.devnull}, {"-f": os.devnull})


def test_nothing_is_written_twice(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--srt and -o are one file"):
        check_apart({"-o": tmp_path / "new.wav", "--srt": tmp_path / "." / "new.wav"}, {})
    check_apart({"-o": os.devnull, "--srt": os.devnull}, {})
