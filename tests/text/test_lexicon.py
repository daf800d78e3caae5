"""The pronunciation lexicon: every word is found, nothing else is, damage is told, and text keeps its offsets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgetts
from edgetts.errors import PackError
from edgetts.pack.load import open_pack
from edgetts.pack.text import tokenizer_of
from edgetts.text.frontend import TextFrontend
from edgetts.text.lexicon import MAX_WORD_LETTERS, Lexicon
from edgetts.text.traced import TracedText

TINY = Path(edgetts.__file__).parent / "builtin" / "tiny"


def written(path: Path, words: dict[str, str]) -> Lexicon:
    path.write_bytes(b"".join(sorted(f"{w}\t{p}\n".encode() for w, p in words.items())))
    return Lexicon(path)


@pytest.fixture
def lexicon(tmp_path: Path) -> Lexicon:
    return written(tmp_path / "lexicon.txt", {"THE": "ðə", "THEN": "ðɛn", "CAT": "kæt", "'S": "z", "ÉTÉ": "ete"})


def test_words_that_are_there_and_words_that_are_not(lexicon: Lexicon) -> None:
    assert lexicon.phones("THE") == "ðə" and lexicon.phones("THEN") == "ðɛn" and lexicon.phones("ÉTÉ") == "ete"
    for word in ("", "T", "TH", "THEM", "ZZZ", "'", "THE\tX", "the", "A" * (MAX_WORD_LETTERS + 1), "\ud800"):
        assert lexicon.phones(word) is None


@given(words=st.dictionaries(st.text("ABCÉ'", min_size=1, max_size=6), st.text("aɪʊə", max_size=5), min_size=1))
def test_every_word_of_a_sorted_file_is_found(tmp_path_factory: pytest.TempPathFactory, words: dict[str, str]) -> None:
    lexicon = written(tmp_path_factory.mktemp("lexicon") / "lexicon.txt", words)
    assert {word: lexicon.phones(word) for word in words} == words
    assert lexicon.phones("B" * 9) is None


def test_text_becomes_phones_and_remembers_where_they_come_from(lexicon: Lexicon) -> None:
    traced = lexicon.pronounce(TracedText.of("THE CAT'S HAT, THEN."))
    assert traced.text == "ðə kætz HAT, ðɛn."
    assert traced.origins[traced.text.index("HAT")] == 10
    assert list(traced.origins) == sorted(traced.origins)
    assert lexicon.pronounce(TracedText.of("HAT'S 'CAT'")).text == "HATz 'kæt'"


def test_a_capital_before_another_letter_is_said_by_its_name(tmp_path: Path) -> None:
    words = {"A": "ə", "A'S": "eɪz", "'S": "z", "M": "ɛm", "X": "ɛks", "X'S": "ɛksɪs", "CAT": "kæt"}
    lexicon = written(tmp_path / "lexicon.txt", words)
    for text, said in [("A M", "eɪ ɛm"), ("A CAT", "ə kæt"), ("M A", "ɛm ə"), ("X M", "ɛks ɛm"), ("A M'S", "ə ɛmz")]:
        assert lexicon.pronounce(TracedText.of(text)).text == said
    assert lexicon.pronounce(TracedText.of("A M"), "a M").text == "ə ɛm"


@given(text=st.text())
def test_no_text_is_lost_or_raises(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    lexicon = written(tmp_path_factory.mktemp("lexicon") / "lexicon.txt", {"A": "ə"})
    traced = lexicon.pronounce(TracedText.of(text))
    assert len(traced.text) == len(traced.origins)
    assert "A" in text or traced.text == text


def test_files_that_are_no_lexicon_are_told(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="cannot be read"):
        Lexicon(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_bytes(b"")
    with pytest.raises(PackError, match="0 bytes"):
        Lexicon(tmp_path / "empty.txt")
    (tmp_path / "bad.txt").write_bytes(b"CAT\t\xff\n")
    with pytest.raises(PackError, match="damaged at 'CAT'"):
        Lexicon(tmp_path / "bad.txt").phones("CAT")
    (tmp_path / "lines.txt").write_bytes(b"no tabs at all\n\n\nCAT")
    assert Lexicon(tmp_path / "lines.txt").phones("CAT") is None


def test_the_built_in_pack_reads_phones() -> None:
    tokenizer = tokenizer_of(open_pack(TINY))
    frontend = TextFrontend(tokenizer)
    text = "The teacher's zyxqua will read 3 books!"
    plan = frontend.segments(text)
    tokens = "".join(token for segment in plan.segments for token in segment.tokens)
    assert tokens == "▁ðə▁tˈitʃɚz▁zˈɪkskwə▁wɪl▁ɹɛd▁θɹi▁bʊks!"
    assert tokenizer.unknown_id not in plan.segments[0].ids
    assert plan.segments[0].text == "The teacher's zyxqua will read three books!"
    assert (plan.segments[0].start, plan.segments[-1].end) == (0, len(text))
