"""Parity with upstream on 84 texts, step by step, and where our own readings differ and why."""

from __future__ import annotations

import itertools
from typing import Any

from edgetts.text.multilingual.characters import plain_marks
from edgetts.text.multilingual.languages import language_id, prefix
from edgetts.text.multilingual.normalize import MultilingualNormalizer
from edgetts.text.multilingual.segment import segment_edges
from edgetts.text.multilingual.tokenizer import BytePairTokenizer
from edgetts.text.traced import TracedText

WHITE_SPACE = "any white space is one space"
# By the beginning of the text: upstream's own way, with other number rules beneath it than the recorded ones.
UPSTREAM_DIFFERS = {
    "第一行": WHITE_SPACE,
    "Dr. Lee": "BA2 is no syllable of pinyin: the sentence is read in English",
    "Write to ann": "the hyphen of 555-0199 is no minus",
    "“Smart": "no space is put behind an opening quotation mark; a dash of any length is a hyphen",
}
OUR_RULES = "the readings of Chinese and English that IndexTTS-2 has here"
OURS_DIFFER = {
    **UPSTREAM_DIFFERS,
    "会议定在2026": f"{OUR_RULES}: a room number is said figure by figure",
    "我的手机号": f"{OUR_RULES}: so is a postcode",
    "气温零下": f"{OUR_RULES}: the hyphen of 海拔-154 stays",
    "比分是3:2": "a score is read before marks are mapped",
    "他买了1、2": "so is an enumeration",
    "主板支持": f"{OUR_RULES}: a model number is said figure by figure",
    "我在用Python": f"{OUR_RULES}: so is no version",
    "这是繁體字": f"{OUR_RULES}: money without a nought at its end",
    "1234567890123": f"{OUR_RULES}: a long number is said figure by figure",
    "打开WiFi": "zhen is no language of ours: it is given as it is",
    "The train leaves": "a time of day is read before marks are mapped",
    "It cost": f"{OUR_RULES}: dollars and cents",
    "Born on": f"{OUR_RULES}: a date without its comma",
    "7": "the language that was named reads it: seven, not 七",
    "x² + y²": f"{OUR_RULES}: powers and signs",
    "if a < b": f"{OUR_RULES}: signs",
    "The lighthouse": "a time of day is read before marks are mapped",
    "値段は": "figures are joined: 3,980 is one number",
    "彼は<素人": "a reading that was given is one word",
    "<今日|きょー>": "special tokens are not torn apart",
    "この<bass": "special tokens are not torn apart",
    "ｶﾀｶﾅ": "full-width letters and half-width kana are written as usual",
    "El precio": "euros with cents, as is said",
    "La reunión": "a time of day is read before marks are mapped",
    "El Dr. Gómez": "a telephone number is said figure by figure",
    "Voy a <Boston": "nothing is read inside an annotation",
    "السعر 150": "Arabic numbers are read",
    "الرقم هو": "Arabic numbers are read",
}


def written(normalizer: MultilingualNormalizer, text: str, code: str) -> str:
    notices: list[str] = []
    spoken = normalizer.spoken_text(TracedText.of(text), code, notices)
    return normalizer.for_model(spoken, code, notices).text


def different(texts: list[dict[str, Any]], normalizer: MultilingualNormalizer, key: str) -> dict[str, str]:
    found = {}
    for case in texts:
        code = case["lang"].lower()
        wanted = (case["final_raw"],) if code == "es" and key == "raw" else (case["final"], case["final_wetext"])
        ours = written(normalizer, case["text"], code)
        if ours not in wanted:
            found[case["text"]] = ours
    return found


def assert_listed(found: dict[str, str], reasons: dict[str, str]) -> None:
    listed = {text: start for text in found for start in reasons if text.startswith(start)}
    assert set(listed) == set(found), {text: ours for text, ours in found.items() if text not in listed}
    assert set(listed.values()) == set(reasons)


def test_prefix_and_language_row(texts: list[dict[str, Any]]) -> None:
    for case in texts:
        assert (prefix(case["lang"]), language_id(case["lang"])) == (case["prefix"], case["lang_id"])


def test_marks_are_mapped_as_upstream_does(texts: list[dict[str, Any]]) -> None:
    for case in texts:
        assert plain_marks(TracedText.of(case["text"])).text == case["cleaned"]


def test_written_for_the_model_from_the_golden_normalization(
    texts: list[dict[str, Any]], upstream: MultilingualNormalizer
) -> None:
    for case in texts:
        made = upstream.for_model(TracedText.of(case["normalized"]), case["lang"].lower(), [])
        assert made.text == case["final"]


def assert_segments_and_ids(texts: list[dict[str, Any]], tokenizer: BytePairTokenizer, ids_of: Any) -> None:
    for case, limit in itertools.product(texts, (120, 30)):
        text = case["final"]
        edges = segment_edges(text, limit, tokenizer.count(case["prefix"]), tokenizer.count)
        segments = [text[start:stop] for start, stop in itertools.pairwise(edges)]
        assert segments == case[f"segments_{limit}"]
        assert [ids_of(tokenizer.segment_ids(part, case["lang"])) for part in segments] == case[f"ids_{limit}"]


def test_segments_and_ids(texts: list[dict[str, Any]], pieces: Any) -> None:
    assert_segments_and_ids(texts, pieces.tokenizer, pieces.published)


def test_segments_and_ids_of_the_published_vocabulary(
    texts: list[dict[str, Any]], published: BytePairTokenizer
) -> None:
    assert_segments_and_ids(texts, published, list)


def test_upstreams_way_differs_where_it_is_said(texts: list[dict[str, Any]], upstream: MultilingualNormalizer) -> None:
    assert_listed(different(texts, upstream, "raw"), UPSTREAM_DIFFERS)


def test_our_way_differs_where_it_is_said(texts: list[dict[str, Any]], ours: MultilingualNormalizer) -> None:
    assert_listed(different(texts, ours, "final"), OURS_DIFFER)
