"""Replaces punctuation marks that a model was not trained on.

In: normalized text, traced to the user's text, and the marks that the model was trained on. Out: the same words with
those marks only. A small model stops at an unknown ellipsis, quotation mark or dash and loses the rest of the text. An
unknown mark becomes the nearest in meaning: an ellipsis a period before a new sentence, else a comma; a dash between
words a comma; quotation marks are removed. Marks before the first word are removed, several in a row become one, and
the text ends with a sentence mark. Also finds the starts of sentences. Does not know tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgetts.errors import UsageError
from edgetts.text.traced import TracedText

PERIOD, COMMA, ELLIPSIS = ".", ",", "…"
PAUSE_MARKS = (",", ".", "?", "!", "...", "-", "'")  # possible marks of a pack
REQUIRED_MARKS = (COMMA, PERIOD)  # required; the others are replaced by these
_STRENGTH = {mark: rank for rank, mark in enumerate((COMMA, ELLIPSIS, PERIOD, "!", "?"))}

_ELLIPSIS = re.compile(rf"(?:{ELLIPSIS}|\.[ ]?\.)(?:[ ]?[.{ELLIPSIS}])*")
_LETTER = r"[^\W_]"
_APART = re.compile(rf"(?<!{_LETTER})'|'(?!{_LETTER})")  # not an apostrophe inside a word
_DASH = re.compile(rf"(?<!{_LETTER})-+|-+(?!{_LETTER})|--+")
_LONG_DASHES = "—–―"
_HYPHEN = re.compile("-")
_INITIAL = re.compile(rf"(?<!{_LETTER})(?!I\.)({_LETTER})\.(?=\s+{_LETTER})")  # "W." of a name, and not the pronoun
_RUN = re.compile(rf"\s*[,.?!{ELLIPSIS}](?:\s*[,.?!{ELLIPSIS}])*")
_LEADING = re.compile(rf"^[\s,.?!{ELLIPSIS}-]+")
_SPACES = re.compile(r"\s{2,}|^\s+|\s+$")
_SENTENCE_START = re.compile(rf"(?<=[.?!{ELLIPSIS}])'*\s+(?=\S)")
_WORDS = re.compile(rf"{_LETTER}+(?:[' ]{_LETTER}+)*")  # without any mark
_SOUND = re.compile(_LETTER)


def check_marks(marks: Sequence[str]) -> None:
    """Raise UsageError for a list of marks with an unknown one or without the required ones."""
    unknown = [mark for mark in marks if mark not in PAUSE_MARKS]
    if unknown or not set(REQUIRED_MARKS) <= set(marks):
        raise UsageError(
            f"The marks {list(marks)} are not usable: choose from {' '.join(PAUSE_MARKS)}, with at least "
            f"{' and '.join(REQUIRED_MARKS)} among them."
        )


def with_known(text: TracedText, original: str, marks: Sequence[str], *, initials: bool = True) -> TracedText:
    """`text` with only `marks`. original: the text of `text.origins`. initials: remove the periods of initials."""
    if _WORDS.fullmatch(text.text):
        return _closed(text)
    if not _SOUND.search(text.text):
        return text  # nothing to speak; a notice shows it unchanged
    if "..." not in marks:
        text = text.substitute(_ELLIPSIS, _instead_of_ellipsis)
    if "'" not in marks:
        text = text.substitute(_APART, lambda _: "")
    if "-" not in marks:
        text = _long_dashes_apart(text, original).substitute(_DASH, lambda _: COMMA + " ")
    if initials:
        text = text.substitute(_INITIAL, lambda match: match[1])
    text = text.substitute(_LEADING, lambda _: "")
    text = text.substitute(_RUN, lambda match: _strongest(match.group(), marks))
    text = text.substitute(_SPACES, lambda match: " " if match.start() and match.end() < len(match.string) else "")
    return _closed(text)


def sentence_starts(text: str) -> list[int]:
    """Offsets in normalized text at which a sentence follows another one."""
    return [match.end() for match in _SENTENCE_START.finditer(text)]


def _instead_of_ellipsis(match: re.Match[str]) -> str:
    """A period before a capital letter or at the end of the text, else a comma."""
    after = match.string[match.end() :].lstrip(" '\"")
    mark = PERIOD if not after or after[0].isupper() else COMMA
    return mark + " "


def _long_dashes_apart(text: TracedText, original: str) -> TracedText:
    """`text` with spaces around hyphens that were long dashes in `original`; the normalizer writes all as hyphens."""

    def spaced(match: re.Match[str]) -> str:
        return " - " if original[text.origins[match.start()]] in _LONG_DASHES else match.group()

    return text.substitute(_HYPHEN, spaced)


def _strongest(run: str, marks: Sequence[str]) -> str:
    """One mark for several in a row; exclamation and question marks only if the model knows them."""
    strongest = max((mark for mark in run if mark in _STRENGTH), key=lambda mark: _STRENGTH[mark])
    if strongest == ELLIPSIS or strongest in marks:
        return strongest
    return PERIOD


def _closed(text: TracedText) -> TracedText:
    """`text` with a sentence mark at its end, without which a model trained on whole sentences runs on."""
    if text.text[-1:] in ("", ".", "?", "!", ELLIPSIS):
        return text
    if text.text[-1] in (COMMA, "-"):
        return TracedText(text.text[:-1] + PERIOD, text.origins)
    return TracedText(text.text + PERIOD, (*text.origins, text.origins[-1]))
