"""Explicit pauses in a text: `[pause:1.5]` (seconds) and `<break time="500ms"/>`.

In: text. Out: parts of text and pauses, in order. Other SSML tags are errors: they should neither be spoken nor
silently dropped. An ordinary `<` or `[` is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgetts.errors import UsageError
from edgetts.text.traced import TracedText

MAX_PAUSE_S = 10.0

_SECONDS_PER_UNIT = {"s": 1.0, "ms": 0.001}
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_PAUSE = re.compile(
    rf"\[pause:[ ]?(?P<seconds>{_NUMBER})[ ]?s?\]"
    rf"|<break[ ]+time[ ]?=[ ]?(?P<quote>[\"'])(?P<time>{_NUMBER})(?P<unit>ms|s)(?P=quote)[ ]?/?>",
    re.IGNORECASE,
)
TAG_HINT = (
    'The text has tags such as <break time="1s"/> or [pause:1], which are spoken as text: give --markup '
    "(markup=True from Python) to make pauses of them."
)
_REFUSED_TAGS = (
    "speak|voice|emphasis|prosody|say-as|sub|phoneme|audio|mark|lang|desc|token|lexicon|lookup|metadata|meta|"
    "media|seq|par|break|pause|silence|amazon:[a-z-]+|mstts:[a-z-]+|google:[a-z-]+"
)
_ELEMENT = rf"</?(?:{_REFUSED_TAGS})(?:\s[^<>]{{0,200}})?/?>"  # of SSML, with or without attributes
_TAG = re.compile(rf"\[(?:pause|break|silence)\b[^\[\]]{{0,40}}\]|{_ELEMENT}", re.IGNORECASE)
_REFUSED = re.compile(
    rf"{_ELEMENT}"
    r"|</?[psw]/?>"  # one-letter elements only without attributes: "<p and q>" may be a formula
    r"|\[(?:pause|break|silence)\b[^\[\]]{0,40}\]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Pause:
    """Silence between two parts of a text."""

    seconds: float  # 0 to MAX_PAUSE_S
    is_line_end: bool = False  # False: from a tag


def has_tags(text: str) -> bool:
    """Whether `text` seems to have pause or SSML tags."""
    return _TAG.search(text) is not None


def split_pauses(text: str) -> list[TracedText | Pause]:
    """Parts of `text` and the pauses between them, in order.

    Raises `UsageError` for a pause that is too long or badly written, and for any other SSML tag.
    """
    parts: list[TracedText | Pause] = []
    done = 0
    for match in _PAUSE.finditer(text):
        parts.append(_plain(text, done, match.start()))
        parts.append(Pause(_seconds(match)))
        done = match.end()
    parts.append(_plain(text, done, len(text)))
    return [part for part in parts if isinstance(part, Pause) or part.text]


def _plain(text: str, start: int, stop: int) -> TracedText:
    """The text from `start` to `stop`. Raises UsageError if it has markup."""
    refused = _REFUSED.search(text, start, stop)
    if refused:
        raise UsageError(
            f"The tag {refused.group()} is not supported; only pauses are, "
            'such as [pause:1.5] or <break time="500ms"/>.'
        )
    return TracedText.of(text[start:stop], start)


def _seconds(match: re.Match[str]) -> float:
    if match["seconds"] is not None:
        seconds = float(match["seconds"])
    else:
        seconds = float(match["time"]) * _SECONDS_PER_UNIT[match["unit"].lower()]
    if seconds > MAX_PAUSE_S:
        raise UsageError(f"The pause {match.group()} is too long; at most {MAX_PAUSE_S:g} s are allowed.")
    return seconds
