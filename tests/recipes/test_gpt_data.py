"""Hybrid sentences: from one recording to the next at a phone that both have, with the codes of what is said."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.tiny import dims
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.lexicon import PHONES
from recipes.tiny.corpus.text import TOKENS
from recipes.tiny.stages import gpt_data
from recipes.tiny.stages.gpt_data import FEWEST_CODES, Row, Sentences, hybrid

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


@pytest.mark.parametrize(
    ("share", "held_out", "fewest", "most"),
    [(0.0, False, 0, 0), (0.5, False, 20, 60), (1.0, False, 80, 80), (1.0, True, 0, 0)],
)
def test_as_many_sentences_are_hybrids_as_asked_for(
    share: float, held_out: bool, fewest: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "items.json").write_text(json.dumps([{"voice": "v"}] * 40))
    corpus, rows = Corpus(tmp_path), [ROWS[i % 3] for i in range(40)]
    for reading in ("", "1", "2"):
        corpus.put(f"text{reading}", [row.ids[1:-1].numpy().astype(np.int16) for row in rows])
        corpus.put(f"align{reading}", [row.align.numpy() for row in rows])
    corpus.put("codes", [np.arange(len(row.codes), dtype=np.int16) for row in rows])
    corpus.put("phone", [row.phones.numpy().astype(np.int16) for row in rows])
    corpus.put("feat", [np.zeros((90, dims.SEMANTIC), np.float16) for _ in rows])
    made: list[Row] = []
    monkeypatch.setattr(gpt_data, "hybrid", lambda rows, *_: made.append(rows[0]) or rows[0])
    sentences = Sentences([corpus], [1], held_out, hybrid_share=share)
    generator = np.random.default_rng(0)
    for _ in range(80):
        sentences.batch([0], generator)
    assert fewest <= len(made) <= most
