from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetts.errors import UsageError
from edgetts.text.segment import segment_indices, split_segments

TOKENS = st.lists(st.sampled_from(["A", "▁B", ",", "▁,", ".", "!", "?", "▁.", "▁...", "-", "'", "▁'"]), max_size=80)


def words(count: int) -> list[str]:
    return [f"▁W{i}" for i in range(count)]


def test_a_short_text_is_one_segment() -> None:
    text = [*words(3), ".", *words(3), "."]
    assert split_segments(text, 120) == [text]


def test_no_tokens_no_segments() -> None:
    assert split_segments([], 120) == []


def test_cut_at_sentence_marks_first() -> None:
    text = [*words(5), ".", *words(5), "."]
    assert [len(s) for s in split_segments(text, 10)] == [6, 6]


def test_cut_at_commas_and_hyphens_and_by_length() -> None:
    assert [len(s) for s in split_segments([*words(5), ",", *words(5)], 8)] == [6, 5]
    assert [len(s) for s in split_segments([*words(5), "-", *words(5)], 8)] == [6, 5]
    assert [len(s) for s in split_segments(words(20), 8)] == [8, 1, 8, 3]


def test_a_mark_after_one_token_does_not_end_a_sentence() -> None:
    assert split_segments(["▁I", ".", "E", ".", *words(4)], 5) == [["▁I", ".", "E", "."], words(4)]


def test_a_closing_quote_is_on_both_sides_of_the_cut() -> None:
    assert split_segments([*words(3), ".", "'", *words(4)], 6) == [[*words(3), ".", "'"], ["'", *words(4)]]


def test_the_first_tokens_stay_in_short_segments() -> None:
    text = [token for _ in range(6) for token in (*words(4), ".")]
    assert [len(s) for s in split_segments(text, 20)] == [20, 10]
    assert [len(s) for s in split_segments(text, 20, quick_tokens=15)] == [10, 20]


@pytest.mark.parametrize(("max_tokens", "quick_tokens"), [(0, 0), (-1, 0), (10, -1)])
def test_limits_out_of_range_are_refused(max_tokens: int, quick_tokens: int) -> None:
    with pytest.raises(UsageError):
        split_segments(["A"], max_tokens, quick_tokens)


@given(TOKENS, st.integers(1, 40), st.integers(0, 40))
def test_nothing_is_lost_or_too_long(tokens: list[str], max_tokens: int, quick_tokens: int) -> None:
    segments = segment_indices(tokens, max_tokens, quick_tokens)
    order = [place for segment in segments for place in segment]
    assert sorted(set(order)) == list(range(len(tokens)))
    assert order == sorted(order)
    repeated = [place for place in set(order) if order.count(place) > 1]
    assert all(tokens[place] in ("'", "▁'") for place in repeated)
    assert all(0 < len(segment) <= max_tokens + 1 for segment in segments)


def test_no_word_is_cut_where_tokens_are_sounds() -> None:
    sounds = list("▁kæt" * 6)
    cut = ["".join(sounds[i] for i in s) for s in segment_indices(sounds, 10, whole_words=True)]
    assert cut == ["▁kæt▁kæt"] * 3
    assert [len(s) for s in segment_indices(sounds, 10)] == [10, 1, 10, 3]
    long = list("▁abcdefghijkl▁kæt.")
    assert ["".join(long[i] for i in s) for s in segment_indices(long, 8, whole_words=True)] == [
        "▁abcdefg",
        "hijkl",
        "▁kæt.",
    ]
    assert sum(len(s) for s in segment_indices(long, 3, whole_words=True)) == len(long)


def sentences(text: str, max_tokens: int) -> list[str]:
    """Tokens are characters and "▁" for a space."""
    tokens = list(text.replace(" ", "▁"))
    starts = [i + 1 for i, token in enumerate(tokens) if token in ".?!" and i + 1 < len(tokens)]
    cut = segment_indices(tokens, max_tokens, whole_words=True, sentences=starts)
    assert [place for segment in cut for place in segment] == list(range(len(tokens)))
    return ["".join(tokens[i] for i in segment).replace("▁", " ").strip() for segment in cut]


def test_each_sentence_on_its_own() -> None:
    assert sentences("One. Two? I. Three!", 50) == ["One.", "Two?", "I.", "Three!"]
    assert sentences("One and two", 50) == ["One and two"]


def test_whole_sentences_are_never_cut_for_the_sake_of_a_neighbor() -> None:
    assert sentences("We went. In the spring, the market opens. He left.", 33) == [
        "We went.",
        "In the spring, the market opens.",
        "He left.",
    ]


def test_a_sentence_over_the_limit_is_cut_into_parts_alike() -> None:
    # Merged greedily it would be 39 and 7 tokens: the last word alone is what such a model loses.
    parts = sentences("aaaa aaaa, bbbb bbbb, cccc cccc, dddd dd, eeee.", 40)
    assert parts == ["aaaa aaaa, bbbb bbbb,", "cccc cccc, dddd dd, eeee."]
