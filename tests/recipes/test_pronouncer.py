"""How the model of spelling is made: alignment of letters and phones, held-out stems, n-grams."""

from __future__ import annotations

from edgetts.text.pronouncer import Pronouncer
from recipes.tiny.corpus.letters import align, classes, is_held_out, stem, units
from recipes.tiny.stages import train_pronouncer
from recipes.tiny.stages.train_pronouncer import distance, errors

CONSONANTS = {"B": "b", "D": "d", "F": "f", "G": "ɡ", "K": "k", "L": "l", "M": "m", "N": "n", "P": "p", "T": "t"}
VOWELS = {"A": "æ", "E": "ɛ", "I": "ɪ", "O": "ɑ", "U": "ʌ"}
# Every syllable, and with a silent E a long A.
WORDS = {
    **{a + v + b: x + y + z for a, x in CONSONANTS.items() for v, y in VOWELS.items() for b, z in CONSONANTS.items()},
    **{f"{a}A{b}E": f"{x}eɪ{z}" for a, x in CONSONANTS.items() for b, z in CONSONANTS.items()},
}


def test_phones_are_split_into_units() -> None:
    assert units("tʃˈaɪld") == ["tʃ", "ˈaɪ", "l", "d"]


def test_letters_are_aligned_with_what_they_say() -> None:
    aligned = align(WORDS)
    assert aligned["FIN"] == ("f", "ɪ", "n")
    assert aligned["FANE"] == ("f", "eɪ", "n", "")
    assert classes(list(aligned.values()))[0] == ""


def test_all_forms_of_a_stem_are_on_one_side() -> None:
    for forms in (("WALK", "WALKS", "WALKED", "WALKING", "WALKER"), ("RUNNER", "RUNNERS", "RUNNING")):
        assert len({stem(form) for form in forms}) == 1
        assert len({is_held_out(form) for form in forms}) == 1
    assert 0.02 < sum(is_held_out(word) for word in WORDS) / len(WORDS) < 0.1


def test_a_silent_letter_is_learned_from_context() -> None:
    aligned = {word: chunks for word, chunks in align(WORDS).items() if word not in ("DAPE", "DAP", "MOG")}
    pronouncer = Pronouncer(*train_pronouncer.tables(train_pronouncer.count(aligned)), "test")
    assert [pronouncer.phones(word) for word in ("DAPE", "DAP", "MOG")] == ["deɪp", "dæp", "mɑɡ"]


def test_fewer_ngrams_are_those_that_matter_most() -> None:
    found = train_pronouncer.count(align(WORDS))
    whole, _ = train_pronouncer.tables(found)
    tables, metadata = train_pronouncer.tables(found, most=len(whole["symbols.1"]) + 300)
    n = sum(len(table) for name, table in tables.items() if name.startswith("symbols"))
    assert n <= len(whole["symbols.1"]) + 300 < sum(len(t) for k, t in whole.items() if k.startswith("symbols"))
    assert Pronouncer(tables, metadata, "test").phones("FANE") == "feɪn"


def test_errors_count_the_nearest_pronunciation() -> None:
    right = {"A": ["kæt", "kɑt"], "B": ["dˈɔɡi"]}
    found = errors({"A": "kɑt", "B": "dɔɡˈɑ"}.__getitem__, ["A", "B"], right)
    assert found["words"] == found["words plain"] == 0.5
    assert found["phones"] == 2 / 7 and found["phones plain"] == 1 / 7
    assert distance("abc", "axcd") == 2
