from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.small_tokenizer import CONFIG, small_tokenizer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgetts.errors import UsageError
from edgetts.text.config import TextConfig
from edgetts.text.frontend import TextFrontend, TextPlan
from edgetts.text.glossary import Glossary
from edgetts.text.lines import PARAGRAPH_PAUSE_S
from edgetts.text.markup import TAG_HINT
from edgetts.text.normalize import TextNormalizer
from edgetts.text.rules import NumberRules
from edgetts.text.tokenizer import TextTokenizer


def shown(text: str, plan: TextPlan) -> list[str]:
    return [text[segment.start : segment.end] for segment in plan.segments]


def test_a_segment_has_all_that_is_needed(frontend: TextFrontend) -> None:
    (segment,) = frontend.segments("Hello, world 2").segments
    assert segment.text == "Hello, world two"
    assert segment.tokens == ("▁HELLO", ",", "▁WORLD", "▁TWO")
    assert segment.ids == tuple(frontend.tokenizer.ids(list(segment.tokens)))
    assert (segment.pause_after_s, segment.start, segment.end) == (0.0, 0, 14)


def test_segments_show_the_part_of_the_original_they_speak(frontend: TextFrontend) -> None:
    text = "Hello hello hello, 1 world. Two hello world 2! The end."
    plan = frontend.segments(text, 6)
    assert shown(text, plan)[0] == "Hello hello hello, "
    assert "".join(shown(text, plan)) == text


def test_natural_pauses_follow_the_marks_except_after_the_last(frontend: TextFrontend) -> None:
    def pauses(text: str) -> list[float]:
        return [segment.pause_after_s for segment in frontend.segments(text, 6).segments]

    comma, last = pauses("hello world the, hello world the.")
    stop, _ = pauses("hello world the. hello world the.")
    quoted, _ = pauses("hello world the.' hello world the.")
    nothing, _ = pauses("hello world the hello world the hello world")
    assert nothing == 0 < comma < stop == quoted
    assert last == 0


def sentence_frontend(folder: Path) -> TextFrontend:
    """Of a pack that speaks sentence by sentence and knows four marks."""
    config = TextConfig(("en",), "upper", False, segments="sentences", marks=(",", ".", "?", "!"))
    return TextFrontend(small_tokenizer(folder, config))


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("One. Two, two... Hello", ["One.", "Two, two.", "Hello."]),
        ("...hello 'world', he said... One!", ["hello world, he said.", "One!"]),
        ("'Hello?' the world. (One.) - Two -", ["Hello?", "the world.", "One.", "Two."]),
        ("I. The end", ["I.", "The end."]),
        ("One.\n\nTwo!", ["One.", "Two!"]),
        ("We live in the U.S. It is big.", ["We live in the U S.", "It is big."]),
        ("12 Main St.\nCall me", ["twelve Main Street.", "Call me."]),
        ("12 Elm Dr.\nCall me", ["twelve Elm Drive.", "Call me."]),
        ("at 5:45 pm.\nChapter IV", ["at five forty five P M.", "Chapter four."]),
        ("12:00 a.m.\r\n  A & B", ["twelve A M.", "A and B."]),
        ("Acme Inc.\n'Welcome'", ["Acme incorporated.", "Welcome."]),
        ("At 5:45 p.m. Chapter IV", ["At five forty five P M.", "Chapter four."]),
        ("See Dr.\nLee at 5 p.m.\nthe next day", ["See doctor Lee at five P M the next day."]),
        ("He came to St.\nLouis with Mr.\nLee", ["He came to Saint Louis with Mister Lee."]),
        ("At the end of the long war he joined the U.S.\nArmy", ["At the end of the long war he joined the U S Army."]),
        ("Plan B. Then we go.", ["Plan B.", "Then we go."]),
        ("George W. Bush spoke.", ["George W Bush spoke."]),
    ],
)
def test_a_pack_may_want_sentences_in_marks_that_it_knows(tmp_path: Path, text: str, spoken: list[str]) -> None:
    plan = sentence_frontend(tmp_path).segments(text)
    assert [segment.text for segment in plan.segments] == spoken
    assert [segment.tokens[-1] for segment in plan.segments] == [s[-1] for s in spoken]
    assert all(segment.pause_after_s > 0 for segment in plan.segments[:-1])
    assert "".join(shown(text, plan)) == text


def test_segments_know_how_they_were_written(frontend: TextFrontend, tmp_path: Path) -> None:
    text = 'At 7 I said "hello". "No" was the 2 end.'
    plan = sentence_frontend(tmp_path).segments(text)
    assert [segment.written for segment in plan.segments] == ['At 7 I said "hello".', '"No" was the 2 end.']
    merged = frontend.segments(text, 20)
    assert "".join(shown(text, merged)) == text
    assert not any(segment.written.startswith((".", '" ', '".')) for segment in merged.segments)


def test_pause_tags_replace_natural_pauses(frontend: TextFrontend) -> None:
    text = '[pause:0.5]Hello.[pause:1.5][pause:1]world <break time="0ms"/>. the [pause:2]'
    plan = frontend.segments(text, markup=True)
    assert plan.pause_before_s == 0.5
    assert [segment.text for segment in plan.segments] == ["Hello.", "world", ". the"]
    assert [segment.pause_after_s for segment in plan.segments] == [2.5, 0.0, 2.0]
    assert shown(text, plan) == ["Hello.", "world ", ". the "]


def test_pauses_without_text_between_them_are_bounded_together(frontend: TextFrontend) -> None:
    plan = frontend.segments("Hello" + "[pause:9]" * 5 + "world", markup=True)
    assert plan.segments[0].pause_after_s == 10.0


def test_tags_are_refused_with_markup_and_text_without(frontend: TextFrontend) -> None:
    with pytest.raises(UsageError, match="not supported"):
        frontend.segments("<speak>hello</speak>", markup=True)
    assert frontend.segments("<speak>hello</speak>").segments


@pytest.mark.parametrize(
    "text", ["<speak>hello</speak>", 'hello <break time="1s"/> world', "hello [pause:1] world [pause]"]
)
def test_tags_that_are_not_asked_for_are_told_once(frontend: TextFrontend, text: str) -> None:
    assert frontend.segments(text).notices.count(TAG_HINT) == 1
    assert TAG_HINT not in frontend.segments("hello <b> < 5 [sic] <p and q>").notices


def test_what_is_left_out_adds_no_line_pauses(frontend: TextFrontend) -> None:
    plan = frontend.segments("?\nHello\n?\n?\n\n?\nworld\n?")
    assert [(plan.pause_before_s, s.pause_after_s) for s in plan.segments] == [(0.0, PARAGRAPH_PAUSE_S), (0.0, 0.0)]


@pytest.mark.parametrize("text", ["", "   ", "\n\n", "?", "...", "😀", "😀 ?!", "\x00", "привет"])
def test_nothing_to_speak_gives_no_segments(frontend: TextFrontend, text: str) -> None:
    plan = frontend.segments(text)
    assert plan.segments == ()
    assert bool(plan.notices) == bool(text.strip())


def test_unspeakable_characters_are_named(frontend: TextFrontend) -> None:
    plan = frontend.segments("Hello 😀 café world, привет")
    assert plan.unspeakable == ("😀", "п", "р", "и", "в", "е", "т")
    assert plan.notices[:2] == (
        "Cyrillic letters (п р и в е т) cannot be spoken by this model, which speaks only Chinese and English.",
        "The model cannot speak '😀'.",
    )


@pytest.mark.parametrize("text", ["Hello :D", "Hello :) world", "Hello xD", "hello =P", "Hello :-("])
def test_faces_are_named_and_none_of_their_letters_is_read(frontend: TextFrontend, text: str) -> None:
    plan = frontend.segments(text)
    assert plan.unspeakable and plan.unspeakable[0] in plan.notices[0]
    assert {word.lower() for word in re.findall("[A-Za-z]+", plan.segments[0].text)} <= {"hello", "world"}


def test_notices_are_few_and_each_once(tokenizer: TextTokenizer) -> None:
    def rule(text: str) -> str:
        raise RuntimeError(text)

    frontend = TextFrontend(
        tokenizer, normalizer=TextNormalizer(CONFIG, rules=NumberRules(lambda _: rule), kind="upstream")
    )
    notices = frontend.segments("hello " + " ".join(f"#{i}" for i in range(50)) + " #1" * 50).notices
    assert len(notices) == 11
    assert "cannot speak" in notices[0] and notices[-1].startswith("There are 42 more")


def test_language_can_be_said(frontend: TextFrontend) -> None:
    assert frontend.segments("2").segments[0].text == "二"
    assert frontend.segments("2", language="en").segments[0].text == "two"


def test_language_is_that_of_the_whole_text(frontend: TextFrontend) -> None:
    assert frontend.segments("hello 2[pause:1]你好", markup=True).segments[0].text == "hello 二"


def test_pauses_do_not_move_the_languages(frontend: TextFrontend) -> None:
    plan = frontend.segments("hello the world 2.[pause:1] 你好 2。[pause:1]2", markup=True)
    assert [segment.text for segment in plan.segments] == ["hello the world two.", "你好 二.", "二"]


def test_the_language_heard_last_is_given_on(frontend: TextFrontend) -> None:
    first = frontend.segments("the world is")
    assert first.language == "en"
    assert frontend.segments("2").segments[0].text == "二"
    second = frontend.segments("2", previous=first.language)
    assert (second.segments[0].text, second.language) == ("two", "en")
    assert frontend.segments("你好 2", previous="en").language == "zh"


def test_who_reads_can_be_chosen(tokenizer: TextTokenizer) -> None:
    ours = TextFrontend(tokenizer).segments("第7章，，，$24.99").segments[0].text
    upstream = TextFrontend(tokenizer, normalizer="upstream").segments("the 1900s").segments[0].text
    assert (ours, upstream) == ("第七章...二十四点九九美元", "the one thousand nine hundred seconds")
    with pytest.raises(UsageError, match=r"Unknown normalizer 'nemo'; choose one of edgetts, upstream"):
        TextFrontend(tokenizer, normalizer="nemo")  # type: ignore[arg-type]


def test_glossary(tokenizer: TextTokenizer) -> None:
    frontend = TextFrontend(tokenizer, Glossary.from_dict({"W": "world"}))
    assert frontend.segments("hello W").segments[0].text == "hello world"


def test_a_limit_out_of_range_is_refused(frontend: TextFrontend) -> None:
    with pytest.raises(UsageError):
        frontend.segments("hello", 0)


def check(text: str, plan: TextPlan, max_tokens: int) -> None:
    """What holds for every text: spans in order, bounded segments, every known letter spoken."""
    position = 0
    for segment in plan.segments:
        assert position <= segment.start <= segment.end <= len(text)
        position = segment.end
        assert 0 < len(segment.ids) == len(segment.tokens) <= max_tokens + 1
        assert segment.pause_after_s >= 0
    spoken = "".join("".join(segment.tokens) for segment in plan.segments).upper()
    letters = {c.upper() for c in text if c.isascii() and c.isalpha()}
    # Units and abbreviations are read as other words ("5 km"), Latin letters without digits never.
    if not any(c.isdigit() for c in text) and text.isascii():
        assert letters <= set(spoken) | set("QXZ"), (letters, spoken)


WILD = st.text(alphabet=st.characters(), max_size=60)  # surrogates and control characters included
WORDS = (
    "hello World 5 3.14 $12.50 -5 +20 #1 [5] 24/7 1990s 你好 第5章 2025年9月8日 ni3 A4 GPT-5-nano 约瑟夫·高登 "
    "it's No. Dr. <H> <b> 😀 é ß \ue041 \ud800 \\ \" “ ” … — – - ' , . ! ? ; : @ % & 1e-3 foo@bar.com "
    "https://a.b/c?d=1 135-4567-8900 10km/h ٣ Ⅷ ½ ² 日本 カ 한국 привет \u0301 \u200d \u0000"
)
WRITTEN = st.builds(
    lambda words, gap: gap.join(words),
    st.lists(st.sampled_from(WORDS.split(" ")), max_size=15),
    st.sampled_from(["", " ", "  ", "\n"]),
)


@settings(deadline=None, max_examples=150)
@given(WILD | WRITTEN, st.integers(1, 40))
@example("+5", 120)
@example("a b\n \n5", 120)
@example("٣ 5", 120)
def test_any_text_gives_a_plan(frontend: TextFrontend, text: str, max_tokens: int) -> None:
    check(text, frontend.segments(text, max_tokens), max_tokens)


@pytest.mark.parametrize(
    "unit", ["a", "中", "😀", "\u0301", "你·", '"\\', "<", "'", "The fox. ", "a-", "[pause:", " #1", "x+5é"]
)
def test_a_long_text_of_anything_gives_a_plan(frontend: TextFrontend, unit: str) -> None:
    text = (unit * 5_000)[:5_000]
    check(text, frontend.segments(text), 120)


@pytest.mark.parametrize("again", ["Hello.", "world, hello?", "5 km", "Hello 😀", "“Hello!”"])
def test_a_line_that_is_said_again_is_the_same_elsewhere(frontend: TextFrontend, again: str) -> None:
    text = f"{again}\n\nHello world.\n\n{again}\n\n{again}"
    plan = frontend.segments(text, language="en")
    first, *others = (segment for segment in plan.segments if segment.written == again)
    assert len(others) == 2
    for segment in others:
        assert text[segment.start : segment.end].strip() == again
        alone = frontend.segments(again, language="en").segments[0]
        assert (segment.text, segment.tokens, segment.ids) == (alone.text, alone.tokens, alone.ids)
        assert segment.length == first.length
    assert [segment.start for segment in plan.segments] == sorted({segment.start for segment in plan.segments})
    assert plan.notices == frontend.segments(again, language="en").notices
