"""Hybrid sentences: from one recording to the next at a phone that both have, with the codes of what is said."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from recipes.tiny.corpus.lexicon import PHONES
from recipes.tiny.corpus.text import TOKENS
from recipes.tiny.stages.gpt_data import FEWEST_CODES, Row, hybrid

TEXTS = ("▁kæt▁sˈændi▁ðɪs", "▁tæp▁mɪndz.", "▁sɪt▁dɪp▁næb?")
PER_TOKEN = 10


def spoken(text: str, number: int) -> Row:
    """Ten codes a token, numbered by sentence and token."""
    tokens = torch.tensor([0, *(TOKENS.index(t) for t in text), 1])
    n = PER_TOKEN * len(text)
    token = torch.arange(n) // PER_TOKEN
    align = ((torch.arange(n) + 0.5) / PER_TOKEN - 0.5).clamp_min(0) / len(text)
    return Row(tokens, 1000 * number + token, align, token)


def text_of(row: Row) -> str:
    return "".join(TOKENS[t] for t in row.ids[1:-1])


ROWS = [spoken(text, k) for k, text in enumerate(TEXTS)]


@pytest.mark.parametrize("longest", [100, 140, 1000])
def test_codes_are_those_of_the_text_and_change_within_words(longest: int) -> None:
    changes, words = set(), set()
    for seed in range(300):
        rows = [ROWS[k] for k in np.random.default_rng(seed).permutation(3)]
        row = hybrid(rows, longest, np.random.default_rng(seed))
        text = text_of(row)
        assert row.ids[0] == 0 and row.ids[-1] == 1
        if row is rows[0]:
            continue
        words |= set(text.split("▁"))
        assert FEWEST_CODES <= len(row.codes) <= longest
        assert len(row.codes) == len(row.align) == len(row.phones)
        spoken_tokens = [(int(c) // 1000, int(c) % 1000) for c in row.codes[::PER_TOKEN]]
        assert "".join(TEXTS[s][i] for s, i in spoken_tokens) == text
        for (s, i), (next_s, next_i) in pairwise(spoken_tokens):
            if s != next_s:
                assert TEXTS[s][i] == TEXTS[next_s][next_i - 1] and TEXTS[s][i] in PHONES
                assert TEXTS[s][i + 1 : i + 2] != "▁" and TEXTS[next_s][next_i] != "▁"
                changes.add((s, next_s))
        at = (row.position() - 0.5).round().long().clamp_max(len(text) - 1)
        for code, k in zip(row.codes.tolist(), at.tolist(), strict=True):
            assert TEXTS[code // 1000][code % 1000] in text[max(0, k - 1) : k + 2]
    new = words - {w for t in TEXTS for w in t.split("▁")}
    assert len(changes) >= 4 and len(new) >= 8


def test_a_sentence_with_nothing_in_common_stays() -> None:
    alone = spoken("▁ʃu▁ʒʊ", 3)
    assert hybrid([alone, ROWS[0]], 1000, np.random.default_rng(0)) is alone
    letters = spoken("▁KAT▁SAT", 3)  # a spelled word is no place to change
    assert hybrid([letters, letters], 1000, np.random.default_rng(0)) is letters
    assert hybrid([ROWS[0]], 1000, np.random.default_rng(0)) is ROWS[0]


def test_what_would_be_too_long_or_too_short_stays() -> None:
    for seed in range(50):
        assert hybrid([ROWS[0], ROWS[1]], FEWEST_CODES - 1, np.random.default_rng(seed)) is ROWS[0]
