"""What the command line takes a text for."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from edgetts.cli.say.request import may_be_markdown, without_subtitle_marks
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
    given: list[str], file: str | None, expected: bool
) -> None:
    assert may_be_markdown(given, file) is expected


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


def test_only_the_words_of_a_subtitle_file_are_spoken() -> None:
    cues = "1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>Hello.</i>\r\n"
    text, notices = without_subtitle_marks(cues, "talk.txt")
    assert text == "Hello."
    assert notices == [
        "The text is a subtitle file: the words of its 1 cue are spoken, not its numbers, times and tags."
    ]
    assert without_subtitle_marks(cues, None) == (cues, [])  # given as an argument: spoken as it is
    assert without_subtitle_marks("Hello.", "talk.srt") == ("Hello.", [])
