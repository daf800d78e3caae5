"""Where written text is cut: marks stay with what they close or open."""

from __future__ import annotations

import itertools

import pytest

from edgetts.text.written import cut_before, whole_words

# "|" is the right cut; "^" the first character that the next segment speaks.
CASES = [
    '"Where are you?"| ^asked the boy.',
    'He said "no^."| Then he left.',
    '"Where are you?^"| asked the boy.',
    'He said "no^".| Then he left.',
    'Come. |"^Go," she said.',
    "Come. |'^So' it was.",
    "“Yes.” |“^Then go.”",
    "It rained. |(^Nobody cared.)",
    "It rained (a lot^).| Nobody cared.",
    "It rained. |[^And] then",
    "Well.^\n\n|Next line",
    "他说：「好。」|「^走吧。」",
    "今天好^。|明天见。",
    "it costs $5|^.50 today",
    "at 10|^:30 sharp",
    "¿Qué? |¿^Sí?",
    "|^No cut",
    "**Bold.** |**^More** text",
]


@pytest.mark.parametrize("case", CASES)
def test_marks_stay_with_what_they_belong_to(case: str) -> None:
    text = case.replace("|", "").replace("^", "")
    at = case.replace("|", "").index("^")
    wanted = case.replace("^", "").index("|")
    cut = cut_before(text, at)
    assert text[:cut].rstrip() == text[:wanted].rstrip()
    assert text[cut:].lstrip() == text[wanted:].lstrip()


def test_a_row_of_marks_is_not_searched_to_its_end() -> None:
    class Counted(str):
        n_reads = 0

        def __getitem__(self, key: object) -> str:
            Counted.n_reads += 1
            return str.__getitem__(self, key)  # type: ignore[index]

    cut_before(Counted("'" * 10_000), 5_000)
    assert Counted.n_reads < 100


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It cost 1,23^4,567 in all", ["It cost 1,234,567", " in all"]),
        ("It cost 1,^234,567 in all", ["It cost 1,234,567", " in all"]),
        ("In COVID^-19 times", ["In COVID-19", " times"]),
        ("It cost 1,23^4,567", ["It cost ", "1,234,567"]),
        ("1,23^4,567", ["1,23", "4,567"]),
        ("at 10 ^people", ["at 10 ", "people"]),
        ("a well-^known man", ["a well-", "known man"]),
        ("sold—^late", ["sold—", "late"]),
        ("今天^天气", ["今天", "天气"]),
        ("12 ^345 67^8 910", ["12 ", "345 678", " 910"]),
        ("a" * 100 + "^" + "a" * 100 + " b", ["a" * 100, "a" * 100 + " b"]),
    ],
)
def test_a_word_that_two_segments_speak_is_shown_whole(text: str, shown: list[str]) -> None:
    parts = text.split("^")
    edges = [sum(len(part) for part in parts[:k]) for k in range(len(parts) + 1)]
    plain = "".join(parts)
    moved = whole_words(plain, edges)
    assert [plain[a:b] for a, b in itertools.pairwise(moved)] == shown
