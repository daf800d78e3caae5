"""Extracts the spoken words of a subtitle file, SubRip or WebVTT.

In: the text of a file. Out: the text of its cues and their number; None if the text is no subtitle file. Left out
are numbers, times, the header, NOTE, STYLE and REGION blocks of WebVTT, settings, tags and the dashes of dialogs.
Lines of a cue are joined. A cue that continues a sentence stays on its line; any other begins a line.
A text is a subtitle file if it begins with the header or a cue. Text outside of cues is kept.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

_TIME = r"(?:\d{1,4}:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_TIMING = re.compile(rf"[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}(?:[ \t].*)?")
_LINE_END = re.compile(r"\r\n|\r|\n")
_HEADER = re.compile(r"WEBVTT(?:[ \t].*)?")
_BLOCK = re.compile(r"(?:NOTE|STYLE|REGION)(?:[ \t].*)?")
_RUBY = re.compile(r"<rt(?:\.[^<>]{0,99})?>[^<>]{0,99}(?:</rt>)?", re.IGNORECASE)
_WORD_TIME = re.compile(rf"<{_TIME}>")
_TAG = re.compile(
    rf"<{_TIME}>|</?(?:i|b|u|s|c|v|font|ruby|rt|lang)(?:[.\s][^<>]{{0,200}})?/?>|\{{\\[^{{}}]{{0,200}}\}}",
    re.IGNORECASE,
)
_ENTITY = re.compile("&(?:amp|lt|gt|nbsp|lrm|rlm|quot|#39);")
_UNSEEN = {ord(char): None for char in "\u200e\u200f\ufeff"}
_DIALOG = re.compile(r"(?:[-‐–—]|>>)[ \t]*(?=[^\W_]|[\"'“‘¿¡(\[])")
_CONTINUED = (",", "，", "、")


@dataclass(frozen=True)
class SubtitleText:
    """The text of a subtitle file."""

    text: str
    n_cues: int

    @property
    def notice(self) -> str:
        """A sentence for the user."""
        cues = "1 cue" if self.n_cues == 1 else f"{self.n_cues} cues"
        return f"The text is a subtitle file: the words of its {cues} are spoken, not its numbers, times and tags."


def subtitle_text(text: str) -> SubtitleText | None:
    """The words of `text` if it is a subtitle file, else None."""
    lines = [line.rstrip(" \t") for line in _LINE_END.split(text.removeprefix("\ufeff"))]
    first = next((place for place, line in enumerate(lines) if line.strip()), len(lines))
    has_header = first < len(lines) and _HEADER.fullmatch(lines[first]) is not None
    if not has_header and not _is_cue(lines, first):
        return None
    cues = [_plain_lines(cue) for cue in _cues(lines, first, has_header=has_header)]
    if _WORD_TIME.search(text):
        cues = list(_without_repeats(cues))
    return SubtitleText(_joined(cues), sum(map(_is_timing, lines)))


def _is_timing(line: str) -> bool:
    return "-->" in line and _TIMING.fullmatch(line) is not None


def _is_cue(lines: list[str], place: int) -> bool:
    """Whether a cue begins at `place`, with its number or its times."""
    if place < len(lines) and lines[place].strip().isdecimal():
        place += 1
    return place < len(lines) and _is_timing(lines[place])


def _cues(lines: list[str], first: int, *, has_header: bool) -> Iterator[list[str]]:
    """The lines of each cue, still with tags. Lines that belong to none are added to the cue before."""
    cue: list[str] = []
    is_left_out = has_header  # up to the next blank line
    begins_block = False
    for place in range(first, len(lines)):
        line = lines[place].strip()
        if not line:
            is_left_out, begins_block = False, True
            continue
        if _is_timing(line):
            yield cue
            cue, is_left_out = [], False
        elif (
            place + 1 < len(lines)
            and _is_timing(lines[place + 1])
            and (line.isdecimal() or (has_header and begins_block))
        ):
            pass  # number or name of the next cue
        elif has_header and begins_block and _BLOCK.fullmatch(line):
            is_left_out = True
        elif not is_left_out:
            cue.append(line)
        begins_block = False
    yield cue


def _plain_lines(cue: list[str]) -> list[str]:
    """The lines of a cue without tags; the lines that one speaker says are joined."""
    found: list[str] = []
    for line in cue:
        plain = _TAG.sub("", _RUBY.sub("", line))
        plain = _ENTITY.sub(lambda match: html.unescape(match.group()), plain).translate(_UNSEEN)
        plain = " ".join(plain.split())
        dialog = _DIALOG.match(plain)
        if dialog is not None:
            found.append(plain[dialog.end() :])
        elif plain and found:
            found[-1] += " " + plain
        elif plain:
            found.append(plain)
    return found


def _without_repeats(cues: list[list[str]]) -> Iterator[list[str]]:
    """Cues that appear word by word show the line before again."""
    last = ""
    for cue in cues:
        new = []
        for line in cue:
            fresh = line.removeprefix(last).strip() if last and (line + " ").startswith(last + " ") else line
            if fresh:
                new.append(fresh)
                last = fresh
        yield new


def _joined(cues: list[list[str]]) -> str:
    text = ""
    for line in (line for cue in cues for line in cue):
        goes_on = text.endswith(_CONTINUED) or line[0].islower()
        text += (" " if goes_on else "\n") + line if text else line
    return text
