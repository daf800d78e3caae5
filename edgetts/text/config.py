"""How one model wants its text, as a frozen dataclass; a pack's manifest carries it under `text`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edgetts.errors import UsageError
from edgetts.text.marks import check_marks

Language = Literal["en", "zh", "ja", "es", "ar"]
ALL_LANGUAGES: tuple[Language, ...] = get_args(Language)
LANGUAGES: tuple[Language, ...] = ("en", "zh")  # of models that are told no language
CASES = ("upper", "lower", "keep")
SEGMENTS = ("merged", "sentences")


@dataclass(frozen=True)
class TextConfig:
    """What the tokenizer was trained on. IndexTTS-2: `(("zh", "en"), "upper", True)`.

    Raises `UsageError` for a language or case that does not exist.
    """

    languages: tuple[str, ...]  # spoken by the model, of LANGUAGES; the first one reads text without letters
    case: str  # one of CASES: letters are changed to it before tokenizing
    split_cjk: bool  # set Chinese, Japanese and Korean characters apart, so that each is a word
    # One of SEGMENTS: neighbors are merged while they fit, as upstream does; or each sentence is spoken on its own,
    # for a model that was trained on single sentences and forgets the second of two.
    segments: str = "merged"
    # The marks that the model can speak, of `marks.PAUSE_MARKS`; others become these. None: all, nothing is changed.
    marks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        unknown = [language for language in self.languages if language not in LANGUAGES]
        if unknown or not self.languages:
            raise UsageError(
                f"The text languages {list(self.languages)} are not usable; choose from {', '.join(LANGUAGES)}."
            )
        if self.case not in CASES:
            raise UsageError(f"The letter case {self.case!r} is unknown; choose from {', '.join(CASES)}.")
        if self.segments not in SEGMENTS:
            raise UsageError(f"Segments of kind {self.segments!r} are unknown; choose from {', '.join(SEGMENTS)}.")
        if self.marks is not None:
            check_marks(self.marks)
