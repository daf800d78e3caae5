"""Subtitles in SubRip or WebVTT.

In: texts with start and end in seconds. Out: the text of a file. Does not know files or sound.
"""

from __future__ import annotations

from collections.abc import Iterable

MS_PER_S = 1000
S_PER_MINUTE = 60
MINUTES_PER_HOUR = 60

Cue = tuple[str, float, float]  # text, start and end in seconds


def srt(cues: Iterable[Cue]) -> str:
    """SubRip: numbered blocks, a comma before the milliseconds."""
    blocks = [
        f"{number}\n{_time(start, ',')} --> {_time(end, ',')}\n{_line(text)}\n"
        for number, (text, start, end) in enumerate(cues, 1)
    ]
    return "\n".join(blocks)


def vtt(cues: Iterable[Cue]) -> str:
    """WebVTT: a header, a point before the milliseconds, markup characters escaped."""
    blocks = ["WEBVTT\n"]
    for text, start, end in cues:
        shown = _line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_time(start, '.')} --> {_time(end, '.')}\n{shown}\n")
    return "\n".join(blocks)


def _line(text: str) -> str:
    """The text on one line: an empty line would end the cue."""
    return " ".join(text.split())


def _time(seconds: float, point: str) -> str:
    total_s, ms = divmod(round(seconds * MS_PER_S), MS_PER_S)
    total_minutes, s = divmod(total_s, S_PER_MINUTE)
    hours, minutes = divmod(total_minutes, MINUTES_PER_HOUR)
    return f"{hours:02}:{minutes:02}:{s:02}{point}{ms:03}"
