"""Subtitle files are told by their beginning; only what their cues say is left."""

from __future__ import annotations

import pytest

from edgetts.text.subtitles import subtitle_text

SRT = """1
00:00:01,600 --> 00:00:04,200
<i>The river ran</i>
past the old mill.

2
00:00:05,000 --> 00:00:07,040 X1:40 X2:600 Y1:20 Y2:50
{\\an8}- Where are you going?
- To the <font color="#ffff00">market</font>, of course,

3
00:00:07,100 --> 00:00:09,000
and back before 10.

4
00:01:09,000 --> 00:01:10,000
Well &amp; good.
"""
SRT_WORDS = (
    "The river ran past the old mill.\nWhere are you going?\n"
    "To the market, of course, and back before 10.\nWell & good."
)
VTT = """WEBVTT - A talk
Kind: captions
Language: en

STYLE
::cue { color: lime }

NOTE
This was made by hand.
It has two lines.

REGION
id:fred width:40%

intro
00:01.000 --> 00:04.000 align:start position:0% line:-1
<v.loud Mary Ann>Good <b>morning</b>, everyone.</v>

00:00:05.000 --> 00:00:06.500
We begin at
5:30 &lt;sharp&gt;.

NOTE one line

3
01:00:05.000 --> 01:00:06.500
<ruby>漢<rt>kan</rt>字<rt>ji</rt></ruby><c.yellow> here</c>
"""
VTT_WORDS = "Good morning, everyone.\nWe begin at 5:30 <sharp>.\n漢字 here"


@pytest.mark.parametrize("change", [lambda s: s, lambda s: s.replace("\n", "\r\n"), lambda s: "\ufeff\n" + s])
def test_words_of_real_looking_files(change) -> None:  # type: ignore[no-untyped-def]
    for source, words, n_cues in ((SRT, SRT_WORDS, 4), (VTT, VTT_WORDS, 3)):
        found = subtitle_text(change(source))
        assert found is not None
        assert found.text == words
        assert found.n_cues == n_cues
        assert f"words of its {n_cues} cues" in found.notice


def test_a_file_without_blank_lines_between_cues() -> None:
    found = subtitle_text("1\n00:00:01,000 --> 00:00:02,000\nOne.\n2\n00:00:02,000 --> 00:00:03,000\nTwo.")
    assert found is not None and found.text == "One.\nTwo."


def test_no_word_outside_of_a_cue_is_lost() -> None:
    found = subtitle_text(
        "1\n00:00:01,000 --> 00:00:02,000\nA first\n\nline after a blank.\n\n12 apples.\n\n"
        "2\n00:00:02,000 --> 00:00:03,000\n1984\n"
    )
    assert found is not None and found.text == "A first line after a blank. 12 apples.\n1984"


def test_lines_that_appear_word_by_word_are_said_once() -> None:
    found = subtitle_text(
        "WEBVTT\n\n00:00.000 --> 00:02.000\nso<00:00:00.500><c> we</c><00:01.000><c> start</c>\n\n"
        "00:02.000 --> 00:02.010\nso we start\n\n"
        "00:02.010 --> 00:04.000\nso we start\nwith<00:03.000><c> rice</c>\n\n"
        "00:04.000 --> 00:04.010\nwith rice\n"
    )
    assert found is not None and found.text == "so we start with rice"


def test_chinese_cues_begin_lines() -> None:
    found = subtitle_text("1\n00:00:01,000 --> 00:00:02,000\n你好\n\n2\n00:00:02,000 --> 00:00:03,000\n再见\n")
    assert found is not None and found.text == "你好\n再见"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello.",
        "1\nOne line, and no time.",
        "A text about subtitles:\n\n1\n00:00:01,000 --> 00:00:02,000\nHello.\n",
        "WEBVTTX\n",
        "1984\n\n00:00:01,000 --> is an arrow",
        "a --> b",
    ],
)
def test_other_texts_are_no_subtitle_files(text: str) -> None:
    assert subtitle_text(text) is None


def test_a_file_without_words() -> None:
    found = subtitle_text("WEBVTT\n\n")
    assert found is not None and found.text == "" and found.n_cues == 0


def test_long_lines_of_anything_take_linear_time() -> None:
    for part in ("<", "<i", "{\\", "00:", "<rt>", "1:00.0 --> ", "-", "&amp;"):
        found = subtitle_text("WEBVTT\n\n00:01.000 --> 00:02.000\n" + part * 20_000)
        assert found is not None
