"""Segments are those of the rule applied piece by piece, with fewer looks at the text, and hold annotations whole."""

from __future__ import annotations

import itertools
import random
import re
from typing import Any

import pytest

from edgetts.errors import UsageError
from edgetts.text.multilingual import pronunciation
from edgetts.text.multilingual.segment import Count, segment_edges
from edgetts.text.traced import TracedText

PREFIX_TOKENS = 2
UNITS = (
    *("the ", "ing", "'s", " '", "hello world ", "mañana", "のです", "的", "!!", "...", "123", "，", "。", "\n", " "),
    *("<|SPECIAL_TOKEN_1|>", "<|SPECIAL_TOKEN_1|>B EY1 S<|SPECIAL_TOKEN_1|>", "<|HAPPY|>", "antidis", "الرقم ", "😀", "e\u0301", "x."),
)  # fmt: skip
PLAIN_RULE = re.compile(r"<\|SPECIAL_TOKEN_\d+\|>.*?<\|SPECIAL_TOKEN_\d+\|>")


def by_the_rule(text: str, budget: int, count: Count) -> list[str]:
    """Clauses, annotations and, of what is over the budget, characters, joined while they fit; one look for each."""

    def joined(pieces: list[str]) -> list[str]:
        found, current = [], ""
        for piece in pieces:
            if current and count(current + piece) > budget:
                found.append(current)
                current = piece
            else:
                current += piece
        return [*found, current] if current else found

    if count(text) <= budget:
        return [text]
    chunks: list[str] = []
    done = 0
    for start, stop in [*(match.span() for match in PLAIN_RULE.finditer(text)), (len(text), len(text))]:
        for clause in re.split(r"(?<=[，。！？、；：,.!?;:\n])", text[done:start]):
            chunks += [clause] if not clause or count(clause) <= budget else joined(list(clause))
        chunks.append(text[start:stop])
        done = stop
    return joined([chunk for chunk in chunks if chunk])


def split(text: str, limit: int, count: Count, quick_tokens: int = 0) -> list[str]:
    edges = segment_edges(text, limit, PREFIX_TOKENS, count, quick_tokens)
    return [text[start:stop] for start, stop in itertools.pairwise(edges)]


def test_segments_are_those_of_the_rule(pieces: Any) -> None:
    count = pieces.tokenizer.count
    generator = random.Random(0)
    for _ in range(200):
        text = "".join(generator.choice(UNITS) for _ in range(generator.randrange(1, 80)))
        budget = generator.choice((1, 3, 8, 28))
        assert split(text, budget + PREFIX_TOKENS, count) == by_the_rule(text, budget, count), text


def test_an_annotation_is_never_cut(pieces: Any) -> None:
    written = pronunciation.written_for_model(TracedText.of("把<重|CHONG2>复，<read|R EH1 D IH0 NG>" * 20)).text
    for limit in range(3, 40):
        for segment in split(written, limit, pieces.tokenizer.count):
            assert segment.count("<|SPECIAL_TOKEN_") % 2 == 0
            assert segment.count("<|") == segment.count("|>")


def test_quick_tokens_keep_the_beginning_short(pieces: Any) -> None:
    count = pieces.tokenizer.count
    text = "one two three, four five six, " * 12
    slow, quick = split(text, 34, count), split(text, 34, count, 40)
    assert "".join(quick) == "".join(slow) == text
    assert max(map(count, slow)) > 16
    assert all(count(segment) <= 16 for segment in quick[:3])
    assert max(map(count, quick[3:])) > 16


def test_few_looks_at_a_long_text(pieces: Any) -> None:
    looks = [0]

    def counted(text: str) -> int:
        looks[0] += 1
        return int(pieces.tokenizer.count(text))

    text = "春天的风吹过田野" * 500
    assert "".join(split(text, 120, counted)) == text
    assert looks[0] < len(text)


def test_limits_out_of_range_are_refused(pieces: Any) -> None:
    for limits in ((0, 0), (10, -1)):
        with pytest.raises(UsageError):
            segment_edges("a", limits[0], 2, pieces.tokenizer.count, limits[1])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<a|b>", ["<a|b>"]),
        ("a < b and <c|d> e", ["< b and <c|d>"]),
        ("<a|b|c>", ["<a|b|c>"]),
        ("<|a|>", []),
        ("<a|>", []),
        ("<a\n|b>", []),
        ("<a|b\n>", []),
        ("<a|<b|c>", ["<a|<b|c>"]),
        ("<a><b|c>", ["<b|c>"]),
        ("if a < b and c > d | e", []),
    ],
)
def test_annotations_are_found_as_by_upstreams_pattern(text: str, found: list[str]) -> None:
    assert [text[span.start : span.stop] for span in pronunciation.find(text)] == found
    assert [match.group() for match in re.finditer(r"<([^|>\n]+)\|([^>\n]+)>", text)] == found


def test_annotations_are_found_as_by_upstreams_pattern_in_any_text() -> None:
    generator = random.Random(0)
    for _ in range(3000):
        text = "".join(generator.choice("<<||>>\nab") for _ in range(generator.randrange(1, 16)))
        found = [text[span.start : span.stop] for span in pronunciation.find(text)]
        assert found == [match.group() for match in re.finditer(r"<([^|>\n]+)\|([^>\n]+)>", text)], text
