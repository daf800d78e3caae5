"""Checks where `edgetts say` writes: the sound device, a file, standard output, subtitles.

In: flags. Out: an `Output`, checked as far as possible before synthesis, or UsageError. Writes nothing.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetts.cli.common import STDIO
from edgetts.errors import UsageError

if TYPE_CHECKING:
    from edgetts.audio.formats import Format

WHOLE = "whole"
WHOLE_SEGMENT = 1_000_000  # codes, more than any segment has


@dataclass(frozen=True)
class Output:
    """Destinations of the speech."""

    target: str | None  # a file, STDIO, or None: not written
    is_redirected: bool  # standard output is a file: the speech equals that of -o FILE, with a complete header
    format: Format | None  # of the written speech
    is_played: bool
    device: str | None  # for playback; None: the system's default
    is_raw: bool
    chunks: tuple[int, ...] | None  # sizes of the chunks of live speech in codes; None: by measured latency
    srt: Path | None
    vtt: Path | None

    @property
    def is_live(self) -> bool:
        """Whether speech is output while it is synthesized: if it is played or piped as WAV or PCM."""
        is_pipe_format = self.format is not None and self.format.container is None and not self.is_redirected
        return self.is_played or (self.to_stdout and is_pipe_format)

    @property
    def to_stdout(self) -> bool:
        return self.target == STDIO


def check_output(
    output: str | None,
    format: str | None,
    *,
    raw: bool,
    play: bool,
    device: str | None,
    chunks: str | None,
    first_steps: int | None,
    srt: Path | None,
    vtt: Path | None,
    as_json: bool,
) -> Output:
    """The checked destinations. Raises UsageError for contradicting flags and for files that cannot be written."""
    from edgetts.audio.formats import check_target
    from edgetts.audio.overwrite import SUBTITLES, check_apart, check_kind

    if raw and output is None:
        output = STDIO
    target = _target(output, format, raw=raw, as_json=as_json)
    is_played = play or target is None
    if device is not None and not is_played:
        raise UsageError("--output-device has no effect with -o alone: add --play, or drop one of them.")
    written = _format(output, format, raw=raw) if target is not None else None
    is_redirected = target == STDIO and _is_regular_file(sys.stdout)
    chosen = Output(target, is_redirected, written, is_played, device, raw, _chunk_sizes(chunks), srt, vtt)
    if not chosen.is_live and (chunks is not None or first_steps is not None):
        raise UsageError("--chunks and --first-steps have no effect with -o FILE alone: add --play, or drop them.")
    for path in filter(None, (srt, vtt)):
        check_target(path)
        check_kind(path, SUBTITLES)
    check_apart({"-o": target if target != STDIO else None, "--srt": srt, "--vtt": vtt}, {})
    return chosen


def playback_options(output: Output, play_on: str | None, *, interrupt: bool, no_daemon: bool) -> dict[str, Any]:
    """What a daemon has to know about the playback; empty: nothing is played. Raises UsageError."""
    if play_on not in (None, "here", "server"):
        raise UsageError(f"--play-on is {play_on!r}; give here or server.")
    on_server = play_on == "server"
    flag = "--play-on server" if on_server else "--interrupt" if interrupt else None
    if flag is not None and no_daemon:
        raise UsageError(f"{flag} and --no-daemon contradict each other: drop one of them.")
    if flag is not None and not output.is_played:
        raise UsageError(f"{flag} is for speech that is played: drop it, or -o.")
    if on_server and output.target is not None:
        raise UsageError("--play-on server plays and writes no file: drop it, or -o.")
    if not output.is_played:
        return {}
    options: dict[str, Any] = {"plays": "server" if on_server else "client", "interrupts": interrupt}
    return {**options, "device": output.device} if on_server else options


def check_inputs_stay(output: Output, read: Mapping[str, str | os.PathLike[str] | None]) -> None:
    """Raise UsageError if an output file is also an input. read: input files by option."""
    from edgetts.audio.overwrite import check_apart

    target = output.target if not output.to_stdout else None
    check_apart({"-o": target, "--srt": output.srt, "--vtt": output.vtt}, read)


def _target(output: str | None, format: str | None, *, raw: bool, as_json: bool) -> str | None:
    from edgetts.audio.formats import SOUND, check_target
    from edgetts.audio.overwrite import check_kind

    if raw and format not in (None, "pcm"):
        raise UsageError(f"--raw and --format {format} contradict each other: drop one of them.")
    if raw and output not in (None, STDIO):
        named = _format(output, None, raw=False) if Path(str(output)).suffix else None
        if named is not None and named.name != "pcm":
            raise UsageError(
                f"--raw writes samples without a header, not a {named.name} file: end {output} in .pcm, or drop --raw."
            )
    if output is None:
        if format is not None:
            raise UsageError(f"--format {format} needs an output: give -o FILE or -o -.")
        return None
    _format(output, format, raw=raw)
    if output != STDIO:
        check_target(output)
        check_kind(output, SOUND)
        return output
    if as_json:
        raise UsageError("--json and -o - both write to standard output: write the speech to a file with -o FILE.")
    if sys.stdout is None or sys.stdout.isatty():
        raise UsageError("Standard output is a terminal or closed: redirect it, or give -o FILE.")
    return output


def _is_regular_file(stream: Any) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # not a real file
        return False


def _format(output: str | None, format: str | None, *, raw: bool) -> Format:
    from edgetts.audio.formats import choose_format

    return choose_format(None if output == STDIO else output, "pcm" if raw else format)


def _chunk_sizes(chunks: str | None) -> tuple[int, ...] | None:
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
