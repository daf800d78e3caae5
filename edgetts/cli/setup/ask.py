"""Questions to a person at a terminal, and text for people: on stderr, as wide as the terminal.

In: a question with its default. Out: the answer; a wrong one is explained and asked again. The end of the input
(Ctrl-D) is a UsageError, not a default. Ctrl-C ends the line of the question and goes on to who asked. Without a
terminal nothing is asked.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence

from edgetts.cli.common import to_stderr
from edgetts.errors import EdgeTTSError, UsageError, printable

_NARROWEST, _WIDEST = 30, 100
_YES, _NO = ("y", "yes"), ("n", "no")
_MOST_WRONG = 20  # answers to one question, after which nobody is there


def can_ask() -> bool:
    """Whether a person is there: standard input is a terminal, and so is where the questions go."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def tell(text: str = "", *, indent: str = "") -> None:
    """A paragraph; lines are broken between words. indent: of its second and later lines."""
    width = max(_NARROWEST, min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST))
    options = {"width": width, "subsequent_indent": indent, "break_long_words": False, "break_on_hyphens": False}
    for line in textwrap.wrap(printable(text), **options) or [""]:  # type: ignore[arg-type]
        to_stderr(line)


def ask(question: str, default: str, read: Callable[[str], str]) -> str:
    """What `read` makes of the answer; its EdgeTTSError is shown and the question asked again.

    default: what an empty answer means; "": that itself is an answer. Raises UsageError at the end of the input.
    """
    shown = f" [{default}]" if default else ""
    for _ in range(_MOST_WRONG):
        try:  # Ctrl-C may come as soon as the question is read
            print(f"{printable(question)}{shown} ", end="", file=sys.stderr, flush=True)
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            to_stderr("")
            raise
        if not line:
            to_stderr("")
            break
        try:
            return read(line.strip() or default)
        except EdgeTTSError as error:
            tell(str(error), indent="  ")
    raise UsageError("The questions were not answered, so nothing was changed: run the same command again.")


def confirm(question: str, *, default: bool) -> bool:
    """A question of yes or no."""

    def read(answer: str) -> str:
        if answer.lower() not in (*_YES, *_NO):
            raise UsageError(f"{answer[:40]!r} is neither yes nor no: answer y or n.")
        return answer.lower()

    return ask(question, "yes" if default else "no", read) in _YES


def choose(question: str, names: Sequence[str], default: str) -> str:
    """One of several names, or its number."""

    def read(answer: str) -> str:
        if answer.isdecimal() and 1 <= int(answer[:9]) <= len(names):
            return names[int(answer[:9]) - 1]
        found = [name for name in names if name.lower() == answer.lower()]
        if not found:
            raise UsageError(f"{answer[:40]!r} is none of them: answer 1 to {len(names)}, or {' or '.join(names)}.")
        return found[0]

    return ask(question, default, read)
