"""Texts of rare words: every slot is filled, words repeat only when all were drawn, and each text can be read."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from edgetts.text.lexicon import Lexicon
from edgetts.text.normalize import TextNormalizer
from recipes.tiny.corpus import rare_words
from recipes.tiny.corpus.text import TEXT_CONFIG

WORDS = {
    "NN": ["apple", "surgeon", "unit"],
    "NNS": ["beetles", "candles"],
    "JJ": ["odd", "corroded"],
    "RB": ["quietly"],
    "VBD": ["polished", "ate"],
    "NNP": ["Miranda", "Oslo"],
}


def test_every_template_can_be_filled_and_spelled_out() -> None:
    spelled_out = TextNormalizer(TEXT_CONFIG).normalize
    texts = rare_words.Texts(WORDS, ["how", "six"], seed=0)
    made = [texts.one() for _ in range(2000)]
    assert not any(set(text) & set("<>") for text in made)
    spelled = [spelled_out(text) for text in made]
    assert not any(re.search(r"[\d$:]", text) for text in spelled)
    assert any("million" not in s and "thousand" in s for s in spelled) and any("dollars" in s for s in spelled)
    alone = sum(len(text.split()) <= 3 for text in spelled) / len(made)
    assert rare_words.ALONE <= alone <= 2 * rare_words.ALONE


def test_an_article_fits_its_word() -> None:
    made = " ".join(texts.one() for texts in [rare_words.Texts(WORDS, ["how"], seed=1)] for _ in range(2000))
    assert " a corroded " in made and " an odd " in made
    assert not re.search(r"\ban (?=[bcdfghjklmnpqrstvwxyz])|\ba (?=[aeio])", made)


def test_words_repeat_only_when_all_were_drawn_and_frequent_ones_come_first() -> None:
    words = [str(n) for n in range(300)]
    deck = rare_words.Deck(words, np.random.default_rng(0))
    drawn = [deck.draw() for _ in words]
    assert sorted(drawn, key=int) == words and drawn != words
    assert np.mean([int(w) for w in drawn[:100]]) < np.mean([int(w) for w in drawn[-100:]]) - 30
    assert sorted((deck.draw() for _ in words), key=int) == words


@pytest.mark.parametrize(
    ("n", "written"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (30, "30th"),
    ],
)
def test_ordinals(n: int, written: str) -> None:
    assert rare_words.ordinal(n) == written


def test_words_come_with_their_kind_and_only_if_the_lexicon_has_them(tmp_path: Path) -> None:
    table = tmp_path / "table.txt"
    table.write_text(
        ";;; comment\n\nsurgeon NN\nMiranda NNP\nMarch NNP\nmarch NN VB\nran VBD\nate VBD\nto TO\nunknownword NN\nthe DT\n"
        "UNESCO NNP\nrare NN\nrunning VBG\nox NN\n"
    )
    lexicon = tmp_path / "lexicon.txt"
    known = ("ATE", "MARCH", "MIRANDA", "OX", "RAN", "RARE", "RUNNING", "SURGEON", "THE", "UNESCO")
    lexicon.write_text("".join(f"{w}\tx\n" for w in known))
    zipf = {"rare": 1.0, "ate": 5.0}
    found = rare_words.tagged_words(table, Lexicon(lexicon), lambda word: zipf.get(word, 3.0))
    assert found == {"NN": ["surgeon", "march"], "NNP": ["Miranda"], "VBD": ["ate", "ran"]}


def test_a_missing_package_is_named_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    monkeypatch.setattr(sys, "argv", ["rare_words", "--lexicon", str(tmp_path / "x"), "--out", str(tmp_path / "y")])
    with pytest.raises(SystemExit, match="pip install wordfreq"):
        rare_words.main()
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SystemExit, match="pip install textblob"):
        rare_words.table_of_tags()
