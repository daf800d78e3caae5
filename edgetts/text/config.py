"""The text settings of one model, as a frozen dataclass; a pack's manifest has them under `text`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edgetts.errors import UsageError
from edgetts.text.marks import check_marks

Language = Literal["en", "zh", "ja", "es", "ar"]
ALL_LANGUAGES: tuple[Language, ...] = get_args(Language)
LANGUAGES: tuple[Language, ...] = ("en", "zh")  # of models without a language input
CASES = ("upper", "lower", "keep")
SEGMENTS = ("merged", "sentences")


@dataclass(frozen=True)
class TextConfig:
    """The text that the tokenizer was trained on. IndexTTS-2: `(("zh", "en"), "upper", True)`.

    Raises `UsageError` for an unknown language, case, kind of segments or mark.
    """

    languages: tuple[str, ...]  # spoken by the model, of LANGUAGES; the first one reads text without letters
    case: str  # one of CASES: letters are changed to it before tokenizing
    split_cjk: bool  # separate Chinese, Japanese and Korean characters by spaces, so that each is a word
    # One of SEGMENTS. merged: clauses are joined while they fit, as upstream does. sentences: one sentence per segment,
    # for a model that was trained on single sentences and drops the second of two.
    segments: str = "merged"
    # Marks that the model was trained on, of `marks.PAUSE_MARKS`; others are replaced by these. None: all are kept.
    marks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        unknown = [language for language in self.languages if language not in LANGUAGES]
        if unknown or not self.languages:
            raise UsageError(f"Unknown text languages {list(self.languages)}; choose from {', '.join(LANGUAGES)}.")
        if self.case not in CASES:
            raise UsageError(f"Unknown letter case {self.case!r}; choose from {', '.join(CASES)}.")
        if self.segments not in SEGMENTS:
            raise UsageError(f"Unknown kind of segments {self.segments!r}; choose from {', '.join(SEGMENTS)}.")
        if self.marks is not None:
            check_marks(self.marks)
