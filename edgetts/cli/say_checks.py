"""What can be wrong with the arguments of `edgetts say`, and what `--json` prints.

In: what the command line said. Out: the same in the types of the API, or UsageError with one sentence. Nothing slow
is loaded here.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetts.cli.common import STDIO, read_text_file
from edgetts.errors import UsageError

if TYPE_CHECKING:
    from edgetts.api import Audio
    from edgetts.audio.encode import Format
    from edgetts.audio.playback.sink import PlaybackStats
    from edgetts.emotion import Emotion

WHOLE = "whole"
WHOLE_SEGMENT = 1_000_000  # codes: more than any model makes of one


def check_options(options: dict[str, Any], *, greedy: bool, no_guards: bool) -> None:
    from edgetts.options import SynthesisOptions

    if greedy:
        for flag in ("temperature", "top_k", "top_p"):
            if flag in options:
                name = "--" + flag.replace("_", "-")
                raise UsageError(f"{name} has no effect with --greedy, which does not sample: drop one of them.")
    if no_guards and "retries" in options:
        raise UsageError("--retries has no effect with --no-guards: drop one of them.")
    SynthesisOptions.of({}, options)


def emotion(weights: str | None, voice: str | None, alpha: float | None, cap: bool) -> Emotion | None:
    from edgetts.emotion import Emotion, parse_weights

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


def target(output: str | None, format: str | None, *, raw: bool, as_json: bool) -> str | None:
    """Where the speech is written, checked as far as it can be before there is any; None: nowhere."""
    from edgetts.audio.encode import check_target

    if raw and format not in (None, "pcm"):
        raise UsageError(f"--raw and --format {format} contradict each other: drop one of them.")
    if output is None:
        if format is not None:
            raise UsageError(f"--format {format} needs somewhere to write to: give -o FILE or -o -.")
        return None
    chosen_format(output, format, raw=raw)
    if output != STDIO:
        check_target(output)
        return output
    if as_json:
        raise UsageError("--json and -o - both want standard output: write the speech to a file with -o FILE.")
    if sys.stdout is None or sys.stdout.isatty():
        raise UsageError("Standard output is a terminal or closed: redirect it, or give -o FILE.")
    return output


def chosen_format(output: str | None, format: str | None, *, raw: bool) -> Format:
    from edgetts.audio.encode import choose_format

    return choose_format(None if output == STDIO else output, "pcm" if raw else format)


def text(text: str | None, file: str | None) -> str:
    if text is not None and file is not None:
        raise UsageError("Give the text or -f FILE, not both.")
    if text is None and file is None:
        raise UsageError('Give the text to speak, such as "Hello.", or - to read standard input, or -f FILE.')
    if file is not None:
        return read_text_file(file)
    if text == STDIO:
        return read_text_file(STDIO)
    assert text is not None
    try:
        text.encode()
    except UnicodeEncodeError:
        # The shell passed bytes that are no UTF-8; Python hides them in lone surrogates.
        raise UsageError("The text holds bytes that are not UTF-8: set the terminal to UTF-8.") from None
    return text


def report(
    audio: Audio, target: str | None, format: Format | None, stats: PlaybackStats | None, notices: list[str]
) -> dict[str, Any]:
    """What --json prints; times in seconds from the start of the file."""
    return {
        "file": os.fspath(Path(target).absolute()) if target is not None else None,
        "format": format.name if target is not None and format is not None else None,
        "seconds": round(audio.seconds, 4),
        "sample_rate": audio.sample_rate,
        "rtf": round(audio.rtf, 4),
        "compute_seconds": round(audio.compute_seconds, 4),
        "seed": audio.seed,
        "segments": [
            {
                "text": s.text,
                "start": round(s.start, 4),
                "end": round(s.end, 4),
                "codes": len(s.codes),
                "seed": s.seed,
                "attempts": s.attempts,
            }
            for s in audio.segments
        ],
        "retries": sum(s.attempts - 1 for s in audio.segments),
        "playback": {**asdict(stats), "state": stats.state.value} if stats is not None else None,
        "notices": notices,
    }


def chunk_sizes(chunks: str | None) -> tuple[int, ...] | None:
    """`whole` or numbers of codes; None: by what was measured."""
    if chunks is None:
        return None
    if chunks == WHOLE:
        return (WHOLE_SEGMENT,)
    try:
        sizes = tuple(int(size) for size in chunks.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise UsageError(f"--chunks is {chunks!r}; give numbers of codes (50 a second) such as 30,60,120, or whole.")
    return sizes


def subtitle_target(path: Path) -> None:
    """Raise UsageError now if a file at `path` could not be written later."""
    from edgetts.audio.encode import check_target

    check_target(path)


def write_subtitles(audio: Audio, srt: Path | None, vtt: Path | None) -> None:
    """The segments and when they are spoken, in the files that are wanted."""
    from edgetts.audio import subtitles
    from edgetts.audio.encode import write_file

    cues = [(segment.text, segment.start, segment.end) for segment in audio.segments]
    for path, render in ((srt, subtitles.srt), (vtt, subtitles.vtt)):
        if path is not None:
            write_file(path, render(cues).encode())
