"""What is left to do when the speech is made: the file, subtitles, notices, what `--json` prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetts.cli.say.output import Output

if TYPE_CHECKING:
    from edgetts.api import Audio
    from edgetts.audio.playback.sink import PlaybackStats


def write_speech(audio: Audio, output: Output) -> None:
    """The whole speech to a file or to standard output, where that is wanted and has not happened live."""
    from edgetts.audio import encode

    if output.target is None or output.format is None or (output.is_live and output.to_stdout):
        return
    is_streamed = output.to_stdout and not output.is_redirected
    data = encode.encode(audio.samples, audio.sample_rate, output.format, streamed=is_streamed)
    if output.to_stdout:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        encode.write_file(output.target, data)


def write_subtitles(audio: Audio, output: Output) -> None:
    """The segments and when they are spoken, in the files that are wanted."""
    from edgetts.audio import subtitles
    from edgetts.audio.encode import write_file

    cues = [(segment.text, segment.start, segment.end) for segment in audio.segments]
    for path, render in ((output.srt, subtitles.srt), (output.vtt, subtitles.vtt)):
        if path is not None:
            write_file(path, render(cues).encode())


def say_rate(sample_rate: int) -> None:
    """Bare samples do not say what they are: say it beside them."""
    print(f"raw PCM: s16le, {sample_rate} Hz, mono", file=sys.stderr)


def report(audio: Audio, output: Output, stats: PlaybackStats | None, notices: Sequence[str]) -> dict[str, Any]:
    """What --json prints; times in seconds from the start of the file."""
    is_written = output.target is not None and output.format is not None
    return {
        "file": os.fspath(Path(output.target).absolute()) if output.target is not None else None,
        "format": output.format.name if is_written and output.format is not None else None,
        "seconds": round(audio.seconds, 4),
        "sample_rate": audio.sample_rate,
        "rtf": round(audio.rtf, 4),
        "compute_seconds": round(audio.compute_seconds, 4),
        "seed": audio.seed,
        "segments": [
            {
                "text": s.text,
                "spoken": s.spoken,
                "start": round(s.start, 4),
                "end": round(s.end, 4),
                "codes": len(s.codes),
                "attempts": s.attempts,
            }
            for s in audio.segments
        ],
        "retries": sum(s.attempts - 1 for s in audio.segments),
        "playback": {**asdict(stats), "state": stats.state.value} if stats is not None else None,
        "notices": list(notices),
    }
