"""Files of `edgetts say`: the speech, subtitles, and the report that `--json` prints."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edgetts.cli.say.output import Output

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgetts.api import Progress, SpeechStream
    from edgetts.audio.playback.sink import PlaybackStats
    from edgetts.audio.writer import SoundWriter
    from edgetts.server.client import RemoteStream
    from edgetts.speech import Speech


@contextlib.contextmanager
def speech_file(output: Output, sample_rate: int) -> Iterator[SoundWriter]:
    """A writer for the output file or standard output."""
    from edgetts.audio.writer import sound_file, spooled_sound

    assert output.target is not None and output.format is not None
    if output.to_stdout:
        is_streamed = not output.is_redirected
        with spooled_sound(sys.stdout.buffer, sample_rate, output.format, streamed=is_streamed) as writer:
            yield writer
    else:
        with sound_file(output.target, sample_rate, output.format) as writer:
            yield writer


def write_speech(stream: SpeechStream | RemoteStream, output: Output, n_characters: int, progress: Progress) -> int:
    """Write the speech to the file or to standard output, segment by segment. Returns its number of samples."""
    progress("speaking", 0.0)
    with stream, speech_file(output, stream.sample_rate) as writer:
        for chunk in stream:
            writer.write(cast("npt.NDArray[np.float32]", chunk.samples))
            if chunk.ends_segment and not chunk.last:
                progress("speaking", chunk.end / n_characters)
    progress("speaking", 1.0)
    return writer.n_samples


def speech_of(stream: SpeechStream | RemoteStream, n_samples: int) -> Speech:
    """The report of a stream that has ended, of this process or of a daemon."""
    from edgetts.server.client import RemoteStream
    from edgetts.speech import Speech

    return stream.speech(n_samples) if isinstance(stream, RemoteStream) else Speech.of(stream, n_samples)


def write_subtitles(speech: Speech, output: Output) -> None:
    """Write the subtitle files that were requested."""
    from edgetts.audio import subtitles
    from edgetts.audio.formats import write_file

    cues = [(segment.text, segment.start, segment.end) for segment in speech.segments]
    for path, render in ((output.srt, subtitles.srt), (output.vtt, subtitles.vtt)):
        if path is not None:
            write_file(path, render(cues).encode())


def print_rate(sample_rate: int) -> None:
    """Print the format of raw samples, which have no header."""
    print(f"raw PCM: s16le, {sample_rate} Hz, mono", file=sys.stderr)


def report(speech: Speech, output: Output, stats: PlaybackStats | None, notices: Sequence[str]) -> dict[str, Any]:
    """The object that --json prints; times in seconds from the start of the file."""
    is_written = output.target is not None and output.format is not None
    return {
        "file": os.fspath(Path(output.target).absolute()) if output.target is not None else None,
        "format": output.format.name if is_written and output.format is not None else None,
        "seconds": round(speech.seconds, 4),
        "sample_rate": speech.sample_rate,
        "rtf": round(speech.rtf, 4),
        "compute_seconds": round(speech.compute_seconds, 4),
        "seed": speech.seed,
        "segments": [
            {
                "text": s.text,
                "spoken": s.spoken,
                "start": round(s.start, 4),
                "end": round(s.end, 4),
                "codes": len(s.codes),
                "attempts": s.attempts,
            }
            for s in speech.segments
        ],
        "retries": sum(s.attempts - 1 for s in speech.segments),
        "playback": {**asdict(stats), "state": stats.state.value} if stats is not None else None,
        "notices": list(notices),
    }
