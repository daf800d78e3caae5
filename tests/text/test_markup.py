from __future__ import annotations

import pytest

from edgetts.errors import UsageError
from edgetts.text.markup import MAX_PAUSE_S, Pause, split_pauses
from edgetts.text.traced import TracedText


def parts(text: str) -> list[str | float]:
    return [part.text if isinstance(part, TracedText) else part.seconds for part in split_pauses(text)]


@pytest.mark.parametrize(
    ("tag", "seconds"),
    [
        ("[pause:1.5]", 1.5),
        ("[PAUSE: 2s]", 2.0),
        ("[pause:0]", 0.0),
        ('<break time="500ms"/>', 0.5),
        ("<break time='1.25s' />", 1.25),
        ('<break time="10s">', MAX_PAUSE_S),
    ],
)
def test_pauses_between_texts(tag: str, seconds: float) -> None:
    assert parts(f"One {tag} two") == ["One ", seconds, " two"]


def test_offsets_are_those_of_the_whole_text() -> None:
    first, pause, second = split_pauses("a[pause:1]bc")
    assert isinstance(first, TracedText) and isinstance(second, TracedText)
    assert pause == Pause(1.0)
    assert second.origins == (10, 11)


@pytest.mark.parametrize(
    "text",
    [
        "<speak>Hello</speak>",
        '<voice name="x">Hello',
        "<emphasis>really</emphasis>",
        '<prosody rate="slow">',
        "<p>Hello</p>",
        '<break strength="strong"/>',
        "<break/>",
        '<break time="soon"/>',
        "[pause:soon]",
        "[pause]",
        "[pause:-1]",
        '<mstts:express-as style="sad">',
    ],
)
def test_other_tags_are_refused_with_advice(text: str) -> None:
    with pytest.raises(UsageError, match=r"not supported.*\[pause:1\.5\]"):
        split_pauses(text)


@pytest.mark.parametrize("text", ["[pause:10.1]", '<break time="99999ms"/>', "[pause:999999999]"])
def test_a_long_pause_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="10 s"):
        split_pauses(text)


@pytest.mark.parametrize(
    "text", ["a < b and c > d", "x <p and q> y", "I <3 you", "[sic]", "see [1]", "<b>bold</b>", "<", "[", "<>", "[]"]
)
def test_ordinary_brackets_are_text(text: str) -> None:
    assert parts(text) == [text]
