"""Converts the arguments of `edgetts say` to types of the API and checks them.

In: arguments and flags. Out: text, emotion, options. Raises UsageError. Imports nothing slow.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetts.cli.common import STDIO
from edgetts.cli.say.live import read_stdin
from edgetts.cli.text_input import read_text_file
from edgetts.errors import UsageError

if TYPE_CHECKING:
    from edgetts.voices.emotion import Emotion

_MARKDOWN_SUFFIXES = (".md", ".markdown")
_NEEDS_SAMPLING = ("temperature", "top_k", "top_p")


def synthesis_options(
    parameters: Mapping[str, Any], preset: str | None, *, greedy: bool, no_guards: bool
) -> dict[str, Any]:
    """The options of the preset, overridden by those given. The pack's defaults apply to the rest.

    parameters: of the verb; those named like a field of `SynthesisOptions` set it.
    """
    from edgetts.options import SynthesisOptions, preset_options

    named = [field.name for field in dataclasses.fields(SynthesisOptions)]
    given = {name: parameters[name] for name in named if parameters.get(name) is not None}
    if greedy:
        for option in filter(given.__contains__, _NEEDS_SAMPLING):
            name = "--" + option.replace("_", "-")
            raise UsageError(f"{name} has no effect with --greedy, which does not sample: drop one of them.")
        given["do_sample"] = False
    if no_guards:
        if "retries" in given:
            raise UsageError("--retries has no effect with --no-guards: drop one of them.")
        given["guards"] = False
    chosen = {**preset_options(preset), **given}
    SynthesisOptions.of({}, chosen)
    return chosen


def emotion(weights: str | None, voice: str | None, alpha: float | None, cap: bool) -> Emotion | None:
    """The emotion of the flags, or None."""
    from edgetts.voices.emotion import Emotion, parse_weights

    if weights is None and voice is None:
        if alpha is not None or cap:
            flag = "--emotion-alpha" if alpha is not None else "--emotion-cap"
            raise UsageError(f"{flag} needs an emotion: give --emotion happy=0.4 or --emotion-voice RECORDING.")
        return None
    if weights is not None and voice is not None:
        raise UsageError("--emotion and --emotion-voice cannot be combined: give one of them.")
    return Emotion(
        weights=parse_weights(weights) if weights is not None else {},
        recording=voice,
        alpha=1.0 if alpha is None else alpha,
        cap=cap,
    )


@dataclass(frozen=True)
class Words:
    """What to speak."""

    text: str | Iterator[str]  # pieces: of standard input, as it arrives
    may_be_markdown: bool  # from a pipe or from a Markdown file
    notices: list[str]


def words(given: Sequence[str], file: str | None, *, is_live: bool) -> Words:
    """The text: arguments joined by spaces, a file, or standard input, which for live speech comes in pieces.

    Standard input is read for `-`, or without a text if it is not a terminal. Of a subtitle file only the words are
    spoken, with a notice.
    """
    text = " ".join(given) if given else None
    if text is not None and file is not None:
        raise UsageError("Give the text or -f FILE, not both.")
    if text is None and file is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError('Give the text to speak, such as "Hello.", or - to read standard input, or -f FILE.')
        text = STDIO
    if file is not None:
        from edgetts.text.subtitles import subtitle_text

        text = read_text_file(file)
        may_be_markdown = file == STDIO or Path(file).suffix.lower() in _MARKDOWN_SUFFIXES
        found = subtitle_text(text)
        return Words(text, may_be_markdown, []) if found is None else Words(found.text, may_be_markdown, [found.notice])
    if text == STDIO:
        return Words(read_stdin() if is_live else read_text_file(STDIO), may_be_markdown=True, notices=[])
    assert text is not None
    try:
        text.encode()
    except UnicodeEncodeError:
        # Python decodes bytes that are not UTF-8 to lone surrogates.
        raise UsageError("The text has bytes that are not UTF-8: set the terminal to UTF-8.") from None
    return Words(text, may_be_markdown=False, notices=[])
