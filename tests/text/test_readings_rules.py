"""What holds for the rules themselves: time in proportion to the text, offsets that stay right, no figure left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]

import pytest
from helpers.readings_cases import cases, is_piece
from helpers.small_tokenizer import CONFIG
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetts.text.normalize import TextNormalizer
from edgetts.text.readings import chinese, english, language, rule
from edgetts.text.readings.script import Simplifier
from edgetts.text.traced import TracedText

RULES = {each.pattern.pattern: each for each in (*english.RULES, *chinese.RULES)}
MAX_REPEAT = 400  # characters that one attempt to match may look at in one go
# Runs that are taken whole wherever they begin, so that nothing is looked at twice.
WHOLE_RUNS = {r"(?P<digits>\d{16,})", "  {1,}"}
ENGLISH, CHINESE = TextNormalizer(CONFIG, is_piece=is_piece), TextNormalizer(CONFIG, is_piece=is_piece)


def repeats(parsed: object) -> Iterator[int]:
    """The upper bounds of all repeats in a parsed pattern."""
    if isinstance(parsed, parser.SubPattern):
        for operator, argument in parsed:
            if operator in (constants.MAX_REPEAT, constants.MIN_REPEAT):
                yield argument[1]
            yield from repeats(argument)
    elif isinstance(parsed, (tuple, list)):
        for part in parsed:
            yield from repeats(part)


@pytest.mark.parametrize("pattern", RULES, ids=[f"{n}" for n in range(len(RULES))])
def test_an_attempt_to_match_is_bounded(pattern: str) -> None:
    """A pattern without unbounded repeats looks at a bounded stretch from each place: time is linear."""
    if pattern in WHOLE_RUNS:
        return
    bounds = list(repeats(parser.parse(pattern, RULES[pattern].pattern.flags & ~re.DEBUG)))
    assert all(bound <= MAX_REPEAT for bound in bounds), pattern


def test_an_unbounded_repeat_would_be_seen() -> None:
    assert max(repeats(parser.parse(r"(?:a{1,2}|b(?=c+))d"))) > MAX_REPEAT


@pytest.mark.parametrize(
    "unit", ["1", "1,", "1.", "5-", "<|", "http://a.b/", "a1", "5%-", "第5章", "們", "A4 ", "U.", "$5 "]
)
def test_work_grows_with_the_text(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: the characters that rules say words for, and the characters asked about in another table."""

    def work(n_chars: int) -> int:
        done = 0
        asked: list[str] = []

        def counting(each: rule.Rule) -> rule.Rule:
            def read(match: re.Match[str]) -> str | None:
                nonlocal done
                done += len(match.group())
                return each.read(match)

            return replace(each, read=read)

        def convert(text: str) -> str:
            asked.append(text)
            return text

        text = TracedText.of((unit * n_chars)[:n_chars])
        rule.Rules((counting(each) for each in english.RULES), spaced=True).apply(text)
        text = Simplifier(convert).simplify(text)
        rule.Rules((counting(each) for each in chinese.RULES), spaced=False).apply(text)
        return done + sum(map(len, asked))

    small, large = work(2_000), work(8_000)
    assert large <= 4 * small + len(RULES)


@pytest.mark.parametrize(("text", "kind", "reading"), cases(), ids=[case[0] for case in cases()])
def test_words_around_a_case_keep_their_offsets(text: str, kind: str, reading: str) -> None:
    chosen: dict[str, tuple[str, str]] = {"en": ("en", "zebra"), "zh": ("zh", "斑马"), "auto": ("en", "zebra")}
    spoken, word = chosen[kind]
    whole = f"{word} {text} {word}"
    traced = ENGLISH.rewrite(TracedText.of(whole), "en" if spoken == "en" else "zh").text
    assert list(traced.origins) == sorted(traced.origins)
    assert len(traced.text) == len(traced.origins)
    first, last = traced.text.index(word), traced.text.rindex(word)
    assert traced.origins[first : first + len(word)] == tuple(range(len(word)))
    assert traced.origins[last : last + len(word)] == tuple(range(len(whole) - len(word), len(whole)))
    inside = range(len(word), len(whole) - len(word))
    assert all(origin in inside for origin in traced.origins[first + len(word) : last])


PARTS = [
    "5",
    "1,234",
    "0.5",
    "$5",
    "€3.20",
    "￥9",
    "10%",
    "-3",
    "5-6",
    "3/4",
    "½",
    "7:30",
    "2024-01-05",
    "May",
    "5",
    "No.",
    "Dr.",
    "St.",
    "U.S.",
    "A4",
    "CO2",
    "v1.2",
    "kg",
    "km/h",
    "℃",
    "+1",
    "415",
    "555",
    "2671",
    "555-1234",
    "@a",
    "#b",
    "&",
    "~",
    "±",
    "×",
    "=",
    "<",
    ">",
    "a.b@c.com",
    "https://a.b/c",
    "第",
    "年",
    "月",
    "个",
    "人",
    "比分",
    "电话",
    "我們",
    "hao3",
    ",",
    ".",
    "!",
    "?",
    "，",
    "。",
    "：",
    "(",
    ")",
    '"',
    "'",
    "VIII",
    "I",
    "etc.",
    "'90s",
    "1st",
    "100th",
    "1e6",
    "x²",
    "5'10\"",
    "�",
    "\ue041",
    "é",
    "😀",
    "٣",
    "Ⅷ",
    "１",
    "\n",
]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PARTS), max_size=12), st.sampled_from(["", " "]), st.sampled_from(["en", "zh", None]))
def test_any_text_is_read_without_a_figure_left(parts: list[str], gap: str, spoken: language.Language | None) -> None:
    text = gap.join(parts)
    traced = ENGLISH.rewrite(TracedText.of(text), spoken).text
    assert list(traced.origins) == sorted(traced.origins)
    assert len(traced.text) == len(traced.origins)
    assert all(0 <= origin < len(text) for origin in traced.origins)
    without_pinyin = re.sub(r"[A-Za-z]{1,6}[1-5]", "", traced.text)
    assert not re.search(r"\d", without_pinyin), traced.text


def test_the_rule_that_reads_a_fraction_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="edgetts"):
        said = english.read(TracedText.of("about 3/4 of it")).text
    lines = [record.getMessage() for record in caplog.records if "3/4" in record.getMessage()]
    assert "3/4" not in said and len(lines) == 1
    assert lines[0].startswith("'3/4' is read as ") and " by en_" in lines[0] and ", pattern " in lines[0]
