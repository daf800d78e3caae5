"""Words that the lexicon lacks: inflections, letters, compounds, names; bounded for any input, the same every time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edgetts
from edgetts.pack.load import open_pack
from edgetts.pack.text import tokenizer_of
from edgetts.text.frontend import TextFrontend
from edgetts.text.lexicon import Lexicon
from edgetts.text.pronouncer import MAX_LETTERS
from edgetts.text.traced import TracedText
from edgetts.text.unknown_words import is_spelled, past, plural, with_syllable

TINY = Path(edgetts.__file__).parent / "builtin" / "tiny"
CASES = [line.split("\t") for line in (Path(__file__).parent / "data" / "unknown_words.tsv").read_text().splitlines()]


@pytest.fixture(scope="module")
def frontend() -> TextFrontend:
    return TextFrontend(tokenizer_of(open_pack(TINY)))


@pytest.fixture(scope="module")
def lexicon(frontend: TextFrontend) -> Lexicon:
    found = frontend.tokenizer.lexicon
    assert found is not None and found.unknown is not None
    return found


def said(frontend: TextFrontend, text: str) -> str:
    plan = frontend.segments(text)
    return "".join(token for segment in plan.segments for token in segment.tokens).replace("▁", " ").strip(" .")


@pytest.mark.parametrize(("written", "accepted"), CASES, ids=[case[0] for case in CASES])
def test_a_word_that_is_missing_has_an_accepted_reading(
    frontend: TextFrontend, lexicon: Lexicon, written: str, accepted: str
) -> None:
    assert lexicon.phones(written.upper()) is None
    assert said(frontend, f"See {written}.").removeprefix("si ") in accepted.split("|")


def test_the_table_has_sixty_words() -> None:
    assert len(CASES) >= 60 and len({case[0] for case in CASES}) == len(CASES)


def test_known_words_do_not_change(lexicon: Lexicon) -> None:
    plain = Lexicon(lexicon.path)
    text = TracedText.of("THE TEACHER'S DOGS WALKED HOME, A M AND I'M THE HTML OF NASA.")
    assert lexicon.pronounce(text) == plain.pronounce(text)


@pytest.mark.parametrize(
    ("phones", "many", "gone"),
    [
        *(("kæt", "kæts", "kætɪd"), ("dɔɡ", "dɔɡz", "dɔɡd"), ("bɑks", "bˈɑksɪz", "bɑkst"), ("wɔʃ", "wˈɔʃɪz", "wɔʃt")),
        *(("dʒʌdʒ", "dʒˈʌdʒɪz", "dʒʌdʒd"), ("pleɪ", "pleɪz", "pleɪd"), ("ˈoʊpən", "ˈoʊpənz", "ˈoʊpənd")),
        *(
            ("wɑtʃ", "wˈɑtʃɪz", "wɑtʃt"),
            ("bʌz", "bˈʌzɪz", "bʌzd"),
            ("niəd", "niədz", "niədɪd"),
            ("læf", "læfs", "læft"),
        ),
    ],
)
def test_endings_follow_the_last_sound(phones: str, many: str, gone: str) -> None:
    assert plural(phones) == many
    assert past(phones) == gone.replace("kætɪd", "kˈætɪd")


def test_a_second_vowel_brings_a_stress() -> None:
    assert with_syllable("ɹʌn", "ɪŋ") == "ɹˈʌnɪŋ"
    assert with_syllable("ˈoʊpən", "ɪŋ") == "ˈoʊpənɪŋ"


@pytest.mark.parametrize("word", ["XQZ", "HTMLX", "EPA", "UAE", "GPU", "MRSA", "NGO", "XKCD"])
def test_capitals_that_nobody_can_say_are_letters(word: str) -> None:
    assert is_spelled(word)


@pytest.mark.parametrize("word", ["UNESCO", "SCUBA", "OPEC", "INTERPOL", "CHURCH", "STREETS"])
def test_capitals_that_are_words_are_said(word: str) -> None:
    assert not is_spelled(word)


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("the ZKX chip", "ðə zi keɪ ɛks tʃɪp"),
        ("two ZKXs", "tu zi keɪ ɛksɪz"),
        ("the UAE's flag", "ðə ju eɪ iz flæɡ"),
        ("hms", "ˈeɪtʃ ɛm ɛs"),
    ],
)
def test_letters_are_said_by_their_names(frontend: TextFrontend, text: str, phones: str) -> None:
    assert said(frontend, text).replace("ˈ", "") == phones.replace("ˈ", "")


def test_a_text_in_capitals_is_no_list_of_acronyms(frontend: TextFrontend) -> None:
    assert " " not in said(frontend, "KATARZYNA")
    assert said(frontend, "WE SAW KATARZYNA").split()[-1] == said(frontend, "We saw Katarzyna").split()[-1]


@pytest.mark.parametrize(
    ("text", "like"), [("Nooooo", "no"), ("yesssss", "yes"), ("Hellooooo", "hello"), ("Pleeeease", "please")]
)
def test_drawn_out_words_are_the_words(frontend: TextFrontend, text: str, like: str) -> None:
    assert said(frontend, text) == said(frontend, like)


@pytest.fixture(scope="module")
def again() -> TextFrontend:
    return TextFrontend(tokenizer_of(open_pack(TINY)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(word=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ'ÉßΩ漢1", max_size=80))
def test_any_word_is_bounded_and_the_same_every_time(frontend: TextFrontend, again: TextFrontend, word: str) -> None:
    first = frontend.tokenizer.encode(word)
    assert len(first.ids) <= 12 * len(word) + 4
    assert again.tokenizer.encode(word) == first


@pytest.mark.parametrize(
    "text",
    [
        "A" * 20_000,
        "AB" * 10_000,
        "Kat" * 7000,
        "x" * 39 + "y",
        "é" * 5000,
        "a'" * 8000,
        "Zq'Zq" * 3000,
        "ſ" * 100,
        "x" + "'s" * 9000,
    ],
    ids=[
        "one letter",
        "two letters",
        "three letters",
        "the longest word",
        "accents",
        "apostrophes",
        "parts",
        "long s",
        "endings",
    ],
)
def test_hostile_words_take_bounded_time(frontend: TextFrontend, text: str) -> None:
    start = time.process_time()
    frontend.segments(text)
    assert time.process_time() - start < 5.0


def test_a_word_that_is_too_long_keeps_its_letters(lexicon: Lexicon) -> None:
    assert lexicon.unknown is not None
    assert lexicon.unknown.phones("BA" * MAX_LETTERS) is None
    assert lexicon.unknown.phones("ÉTÉ") is None
