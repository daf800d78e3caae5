"""Punctuation that a model does not know becomes pauses that it can speak.

In: normalized text, traced to what the user typed, and the marks that the pack says its model was trained on. Out: the
same words with those marks only. A small model that meets an ellipsis, a quotation mark or a dash it never learned
stops there, and the rest of the text is lost. A mark that is missing becomes the one nearest in meaning: an ellipsis
before a new sentence a full stop, otherwise a comma; a dash between words a comma; quotation marks are not heard.
Marks before the first word go, several in a row become one, and the text ends with a mark that ends sentences.
Also finds where sentences begin. Knows no tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgetts.errors import UsageError
from edgetts.text.traced import TracedText

FULL_STOP, COMMA, ELLIPSIS = ".", ",", "…"
PAUSE_MARKS = (",", ".", "?", "!", "...", "-", "'")  # what a pack can say that it knows
LEAST_MARKS = (COMMA, FULL_STOP)  # what the others become
_STRENGTH = {mark: rank for rank, mark in enumerate((COMMA, ELLIPSIS, FULL_STOP, "!", "?"))}

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
_SOUND = re.compile(_LETTER)


def check_marks(marks: Sequence[str]) -> None:
    """Raises UsageError for a list of known marks that cannot be worked with."""
    unknown = [mark for mark in marks if mark not in PAUSE_MARKS]
    if unknown or not set(LEAST_MARKS) <= set(marks):
        raise UsageError(
            f"The marks {list(marks)} are not usable: choose from {' '.join(PAUSE_MARKS)}, with at least "
            f"{' and '.join(LEAST_MARKS)} among them."
        )


def with_known(text: TracedText, original: str, marks: Sequence[str], *, initials: bool = True) -> TracedText:
    """`text` in `marks`. original: what `text.origins` point into. initials: whether stops of initials are left."""
    if not _SOUND.search(text.text):
        return text  # nothing to speak: whoever says so should see it as it is
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
    """Where a sentence begins behind another one, as offsets in normalized text."""
    return [match.end() for match in _SENTENCE_START.finditer(text)]


def _instead_of_ellipsis(match: re.Match[str]) -> str:
    """What a reader hears in it: the end of a sentence before a capital letter or at the end, else a hesitation."""
    after = match.string[match.end() :].lstrip(" '\"")
    mark = FULL_STOP if not after or after[0].isupper() else COMMA
    return mark + " "


def _long_dashes_apart(text: TracedText, original: str) -> TracedText:
    """What was typed as a long dash is one, also without spaces; the normalizer writes every dash as a hyphen."""

    def spaced(match: re.Match[str]) -> str:
        return " - " if original[text.origins[match.start()]] in _LONG_DASHES else match.group()

    return text.substitute(_HYPHEN, spaced)


def _strongest(run: str, marks: Sequence[str]) -> str:
    """One mark for several in a row; the user's exclamation and question marks only if the model knows them."""
    strongest = max((mark for mark in run if mark in _STRENGTH), key=lambda mark: _STRENGTH[mark])
    if strongest == ELLIPSIS or strongest in marks:
        return strongest
    return FULL_STOP


def _closed(text: TracedText) -> TracedText:
    """A model that was trained on whole sentences runs on where none ends."""
    if text.text[-1:] in ("", ".", "?", "!", ELLIPSIS):
        return text
    if text.text[-1] in (COMMA, "-"):
        return TracedText(text.text[:-1] + FULL_STOP, text.origins)
    return TracedText(text.text + FULL_STOP, (*text.origins, text.origins[-1]))
