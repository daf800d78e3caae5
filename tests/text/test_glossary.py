from __future__ import annotations

from pathlib import Path

import pytest

from edgetts.errors import UsageError
from edgetts.text.config import Language
from edgetts.text.glossary import MAX_FILE_BYTES, MAX_TERMS, Glossary
from edgetts.text.traced import TracedText


def said(glossary: Glossary, text: str, language: Language = "en") -> str:
    return glossary.apply(TracedText.of(text), language).text


def test_terms_per_language_and_for_all() -> None:
    glossary = Glossary.from_dict({"C++": {"en": "C plus plus", "zh": "C 加加"}, "NVMe": "N V M E"})
    assert said(glossary, "c++ on nvme") == "C plus plus on N V M E"
    assert said(glossary, "用C++写", "zh") == "用C 加加写"


def test_a_term_without_this_language_stays() -> None:
    assert said(Glossary.from_dict({"M.2": {"zh": "M 二"}}), "M.2") == "M.2"


def test_the_longest_term_wins_and_readings_are_not_read_again() -> None:
    glossary = Glossary.from_dict({"PCIe": "bus", "PCIe 5.0": "PCIe five"})
    assert said(glossary, "PCIe 5.0 and PCIe") == "PCIe five and bus"


def test_a_term_never_matches_inside_a_word() -> None:
    glossary = Glossary.from_dict({"AI": "artificial", "C#": "C sharp"})
    assert said(glossary, "he said AI, AIs; XC# C#") == "he said artificial, AIs; XC# C sharp"


def test_offsets_follow() -> None:
    traced = Glossary.from_dict({"AI": "A I"}).apply(TracedText.of("so AI it is"), "en")
    assert traced.origins[traced.text.index("it")] == 6


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "glossary.yaml"
    path.write_text("M.2: {en: M dot two}\nTTS: T T S\n", encoding="utf-8")
    assert said(Glossary.load(path), "an M.2 and a TTS") == "an M dot two and a T T S"
    path.write_text("", encoding="utf-8")
    assert said(Glossary.load(path), "TTS") == "TTS"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"- a\n- b", "must map terms"),
        (b"just words", "must map terms"),
        (b"a: [", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"[" * 500, "not YAML"),
        (b"when: 2024-99-99", "not YAML"),
        (b"5: five", "put it in quotes"),
        (b"a: 5", "must be text"),
        (b"a: {en: [x]}", "must be text"),
        (b"a: {fr: x}", "languages are en, zh"),
        (b"a: ''", "1 to"),
        (b"'  ': x", "not all blank"),
        (b"a: x\nA: y", "twice"),
        (b"a: " + b"x" * 501, "1 to 500"),
        (b"x" * 101 + b": a", "1 to 100"),
        (b"#" * (MAX_FILE_BYTES + 1), "at most"),
    ],
)
def test_a_bad_file_gets_a_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "glossary.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=reason) as caught:
        Glossary.load(path)
    assert "glossary.yaml" in str(caught.value)


def test_all_problems_are_listed_and_the_size_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'a'.*'b'"):
        Glossary.from_dict({"a": 1, "b": 2})
    with pytest.raises(UsageError, match=f"at most {MAX_TERMS}"):
        Glossary.from_dict({f"term {i}": "x" for i in range(MAX_TERMS + 1)})
    with pytest.raises(UsageError, match="cannot be read"):
        Glossary.load(tmp_path / "none.yaml")


def test_a_device_without_end_is_read_no_further_than_a_glossary_may_go() -> None:
    with pytest.raises(UsageError, match=f"at most {MAX_FILE_BYTES} are allowed"):
        Glossary.load("/dev/zero")
