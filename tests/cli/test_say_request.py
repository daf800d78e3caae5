"""What the command line takes a text for."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from edgetts.cli.say import request
from edgetts.cli.say.request import words
from edgetts.cli.text_input import MAX_TEXT_BYTES, read_text_file
from edgetts.errors import UsageError


@pytest.mark.parametrize(
    ("given", "file", "expected"),
    [
        (["-"], None, True),
        ([], None, True),  # from a pipe
        ([], "-", True),
        ([], "notes.md", True),
        ([], "a/NOTES.MD", True),
        ([], "story.txt", False),
        (["2 * 3 * 4"], None, False),
        (["-", "5"], None, False),
    ],
)
def test_markdown_is_expected_from_programs_and_its_own_files(
    given: list[str], file: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "read_text_file", lambda name: "Hello.")
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello."))
    assert words(given, file, is_live=False).may_be_markdown is expected


class Endless(io.RawIOBase):
    """Bytes without end, and how many were asked for."""

    n_given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        self.n_given += len(buffer)
        buffer[:] = b"y" * len(buffer)
        return len(buffer)


def test_a_text_without_end_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    endless = Endless()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(endless)))
    with pytest.raises(UsageError, match=r"standard input has more than 16 MiB.*without -o"):
        read_text_file("-")
    assert endless.n_given < 2 * MAX_TEXT_BYTES
    long = tmp_path / "long.txt"
    long.write_bytes(b"y" * (MAX_TEXT_BYTES + 1))
    with pytest.raises(UsageError, match=r"long\.txt has more than 16 MiB"):
        read_text_file(str(long))
    long.write_bytes(b"y" * 100)
    assert read_text_file(str(long)) == "y" * 100


def test_only_the_words_of_a_subtitle_file_are_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(content: str) -> tuple[object, list[str]]:
        monkeypatch.setattr(request, "read_text_file", lambda name: content)
        found = words((), "talk.srt", is_live=False)
        return found.text, found.notices

    cues = "1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>Hello.</i>\r\n"
    text, notices = read(cues)
    assert text == "Hello."
    assert notices == [
        "The text is a subtitle file: the words of its 1 cue are spoken, not its numbers, times and tags."
    ]
    assert words([cues], None, is_live=False).text == cues  # given as an argument: spoken as it is
    assert read("Hello.") == ("Hello.", [])
