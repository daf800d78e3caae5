"""Parity with upstream on the 40 golden texts."""

from __future__ import annotations

from typing import Any

from edgetts.text.frontend import TextFrontend
from edgetts.text.normalize import TextNormalizer
from edgetts.text.segment import split_segments
from edgetts.text.tokenizer import TextTokenizer

# Texts that we read otherwise than both of upstream's normalizers, and why. None so far.
READ_OTHERWISE: dict[str, str] = {}


def test_normalized_as_upstream(golden_texts: list[dict[str, Any]], upstream: TextNormalizer) -> None:
    different = {
        case["text"]: ours
        for case in golden_texts
        if (ours := upstream.normalize(case["text"])) not in (case["normalized"], case["normalized_wetext"])
    }
    assert set(different) == set(READ_OTHERWISE), different


def test_no_golden_text_defeats_the_rules(
    golden_texts: list[dict[str, Any]], tokenizer: TextTokenizer, upstream: TextNormalizer
) -> None:
    frontend = TextFrontend(tokenizer, normalizer=upstream)
    for case in golden_texts:
        notices = frontend.segments(case["text"]).notices
        assert not [notice for notice in notices if "rules" in notice], case["text"]


def test_tokens_and_ids_equal(golden_texts: list[dict[str, Any]], published_tokenizer: TextTokenizer) -> None:
    for case in golden_texts:
        encoded = published_tokenizer.encode(case["normalized"])
        assert list(encoded.tokens) == case["tokens"] == published_tokenizer.tokenize(case["normalized"])
        assert list(encoded.ids) == case["ids"] == published_tokenizer.ids(case["tokens"])


def test_segments_equal(golden_texts: list[dict[str, Any]]) -> None:
    for case in golden_texts:
        assert split_segments(case["tokens"], 120) == case["segments_120"]
        assert split_segments(case["tokens"], 30) == case["segments_30"]


def test_the_front_end_ends_at_the_same_segments(
    golden_texts: list[dict[str, Any]], published_tokenizer: TextTokenizer, upstream: TextNormalizer
) -> None:
    frontend = TextFrontend(published_tokenizer, normalizer=upstream)
    for case in golden_texts:
        if upstream.normalize(case["text"]) != case["normalized"] or case["text"] == "?":
            continue  # tokens follow `normalized`; a lone mark is not spoken
        plan = frontend.segments(case["text"], 30)
        assert [list(segment.tokens) for segment in plan.segments] == case["segments_30"]
