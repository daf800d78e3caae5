"""What the command line takes a text for."""

from __future__ import annotations

import pytest

from edgetts.cli.say.request import may_be_markdown


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
def test_markdown_is_expected_from_programs_and_its_own_files(given: list[str], file: str | None, expected: bool) -> None:
    assert may_be_markdown(given, file) is expected
