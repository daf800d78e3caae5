"""Texts in languages that the model does not speak are told; English is not mistaken for one of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.paths import TESTS

from edgetts import TTS
from edgetts.pack.locate import builtin_pack
from edgetts.text.foreign import foreign_language, foreign_notice


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Guten Morgen, wie geht es Ihnen heute?", "German"),
        ("Das ist ein sehr schöner Tag, und wir gehen heute nicht nach Hause.", "German"),
        ("Bonjour, comment allez-vous ? Je suis très content de vous voir.", "French"),
        ("Le chat est dans la maison avec une souris.", "French"),
        ("Hola, ¿cómo está usted? El tren sale por la mañana y no para en todas las estaciones.", "Spanish"),
        ("Il treno non è ancora arrivato, ma sono molto contento.", "Italian"),
        ("O trem não chegou ainda, mas eu estou muito feliz com você.", "Portuguese"),
        ("Het is een mooie dag en ik ga niet naar huis.", "Dutch"),
        ("Bonjour, comment allez-vous aujourd'hui?", "French"),
        ("Où est la gare?", "French"),
        ("Ça va bien, merci.", "French"),
        ("Ich bin müde.", "German"),
        ("WIE HEISST DU? DAS IST SCHÖN.", "German"),
        ("Die Straße ist lang.", "German"),
        ("Guten Morgen, alle zusammen!", "German"),
        ("Hola, ¿cómo estás?", "Spanish"),
        ("¡Vamos!", "Spanish"),
        ("Perché no, è bello.", "Italian"),
        ("Não é bom.", "Portuguese"),
        ("GUTEN MORGEN, WIE GEHT ES IHNEN HEUTE? ICH BIN HIER.", "German"),
    ],
)
def test_foreign(text: str, language: str) -> None:
    assert foreign_language(text) == language
    notice = foreign_notice(text, ("en",))
    assert (
        notice
        == f"The text seems to be {language}, but this model speaks only English and reads the text by those rules."
    )
    assert "Chinese and English" in str(foreign_notice(text, ("zh", "en")))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1984",
        "Hello.",
        "Ludwig van Beethoven and Otto von Bismarck met in the den of a lion.",
        "The die is cast; no man is an island, et cetera.",
        "We ate pad thai at Le Bernardin, then drove to Los Angeles and San Jose.",
        "El Niño and La Niña are patterns that the ocean shows.",
        "Ha ha ha ha!",
        "Ha ha, ho ho.",
        "We met at the café.",
        "A naïve plan.",
        "El Niño warms oceans.",
        "El Niño",
        "La Niña, Los Angeles",
        "Zoë called twice.",
        "Zoë, hier.",
        "Café au lait, please.",
        "Le Café",
        "Der Spiegel reported.",
        "Müller scored twice.",
        "He shouted ¡Vamos! to them.",
        "He said: das ist gut.",  # too little to be sure
        "我们明天去台湾，请记得带护照。",
        "A man, a plan, a canal: Panama!",
    ],
)
def test_not_foreign(text: str) -> None:
    assert foreign_language(text) is None and foreign_notice(text, ("en",)) is None


def test_the_front_end_says_so_once(tmp_path: Path) -> None:
    plan = TTS.load(builtin_pack(), home=tmp_path).frontend().segments("Guten Morgen, wie geht es Ihnen heute?")
    assert [n for n in plan.notices if "German" in n] == [plan.notices[0]] and plan.segments


def test_no_sentence_of_the_recipe_is_foreign() -> None:
    for name in ("sentences.txt", "fresh_common.txt"):
        for line in (TESTS.parent / "recipes" / "tiny" / name).read_text(encoding="utf-8").splitlines():
            assert foreign_language(line) is None, line


def test_the_words_of_the_lists_are_not_english() -> None:
    from edgetts.text import foreign

    for language, words in foreign._WORDS.items():
        assert not words & foreign._ENGLISH_WORDS, language
