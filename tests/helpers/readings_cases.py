"""The table of readings: what is typed, the language of the text, what is said. One case a line of `readings.tsv`."""

from __future__ import annotations

from pathlib import Path

TABLE = Path(__file__).parents[1] / "text" / "data" / "readings.tsv"
# Syllables of one letter that the published vocabulary has; of those of more letters it has nearly all.
_SHORT_SYLLABLES = frozenset(("A1", "A5", "E1", "E2", "E3", "E4", "E5", "O1", "O2", "O5"))
_NO_SYLLABLES = frozenset(("CO", "SO", "FE"))  # which the pattern of syllables takes for one


def cases() -> list[tuple[str, str, str]]:
    """Input, language ("auto": found from the text), reading."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("# ")]
    assert all(len(row) == 3 for row in rows), [row for row in rows if len(row) != 3]
    return [(row[0], row[1], row[2]) for row in rows]


def is_piece(syllable: str) -> bool:
    """As the published vocabulary answers for syllables that exist."""
    letters = syllable[:-1]
    return syllable in _SHORT_SYLLABLES or (len(letters) > 1 and letters not in _NO_SYLLABLES)
