"""Shared by all verbs: the environment, one-line errors, notices and progress on stderr, JSON on stdout.

Does not import torch or numpy. Messages go to stderr and results to stdout, so that pipes get only results.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from edgetts.cli import complete
from edgetts.cli.environment import Environment
from edgetts.cli.flags import with_flags
from edgetts.errors import UsageError, one_line, printable

if TYPE_CHECKING:
    from typing_extensions import Self

    from edgetts.compute import Compute

STDIO = "-"
EXIT_TERMINATED = 143  # 128 + SIGTERM


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Disables garbage collection during the import of torch and exempts the imported objects from it, which saves a
    tenth of the run time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def environment(context: typer.Context) -> Environment:
    """The Environment that the application put into the context."""
    found = context.find_object(Environment)
    return found if found is not None else Environment.read(os.environ)


PackOption = Annotated[
    str | None,
    typer.Option(
        "--pack",
        "-p",
        metavar="PACK",
        help="Model pack: a folder, the name of one under the user's packs, or builtin. "
        "Default: $EDGETTS_PACK, the pack chosen with `edgetts packs use`, the one called 'default', the built-in one.",
        rich_help_panel="Model",
        show_default=False,
        autocompletion=complete.packs,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda or cuda:N. Default: $EDGETTS_DEVICE or auto.",
        rich_help_panel="Model",
        show_default=False,
    ),
]
ComputeOption = Annotated[
    str | None,
    typer.Option(
        "--compute",
        metavar="HOW",
        help="Compute mode. exact: fp32. fast: 16 bits if the machine has them; on the CPU, 8-bit activations of the "
        "GPT with quantized weights. reference: plain fp32 without compiled kernels. "
        "[the pack's own; else fast on a GPU and for packs whose report measured it, else exact]",
        rich_help_panel="Model",
        show_default=False,
    ),
]
MemoryBudgetOption = Annotated[
    str | None,
    typer.Option(
        "--memory-budget",
        metavar="SIZE",
        help="Use at most this much memory, such as 1500M or 2G, or refuse: options are reduced to fit, with a notice. "
        "On a GPU with its own memory: of that; learning a voice is not counted.",
        rich_help_panel="Model",
        show_default=False,
    ),
]
AdaptStepsOption = Annotated[
    int | None,
    typer.Option(
        "--adapt-steps",
        help="Train the sound on the recording of a new voice for 1 to 2000 steps: takes time once and sounds closer "
        "to the voice; 0: off. [the pack's own; the published model: 0]",
        rich_help_panel="Voice",
        show_default=False,
    ),
]
MatchSpectrumOption = Annotated[
    bool | None,
    typer.Option(
        "--match-spectrum/--no-match-spectrum",
        help="Give the speech of a new voice the spectrum of its recording: closer to the voice, at the cost of one "
        "pass over the recording. [the pack's own; the published model: no]",
        rich_help_panel="Voice",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output.", rich_help_panel="Output")
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No notices and no progress, only errors.", rich_help_panel="Output"),
]


def check_learns(adapt_steps: int | None, match_spectrum: bool | None, is_recording: bool, voice: str | None) -> None:
    """Raise UsageError if --adapt-steps or --match-spectrum was given without a recording."""
    given = {"--adapt-steps": adapt_steps, "--match-spectrum": match_spectrum}
    for flag, value in given.items():
        if value is not None and not is_recording:
            raise UsageError(
                f"{flag} needs a recording, but {voice or 'the default voice'} is an enrolled voice: "
                f"give the recording, or leave {flag} out."
            )


def compute_name(given: str | None) -> Compute | None:
    """The value of --compute, checked; None: not given, pack and device decide. Raises UsageError."""
    from edgetts.compute import check_compute

    name: Any = given
    if name is not None:
        check_compute(name)
    chosen: Compute | None = name
    return chosen


def memory_bytes(given: str | None) -> int | None:
    """The value of --memory-budget in bytes. Raises UsageError."""
    if given is None:
        return None
    from edgetts.memory import parse_size

    return parse_size(given)


def print_error(message: str) -> None:
    to_stderr(f"edgetts: {one_line(with_flags(message))}")


def print_notice(message: str) -> None:
    to_stderr(f"note: {one_line(with_flags(message))}")


def print_line(text: str = "") -> None:
    """One line on stdout, with control characters escaped."""
    print(_encodable(printable(text), sys.stdout), flush=True)


def to_stderr(line: str) -> None:
    """One line on stderr, if the process has one."""
    if sys.stderr is not None:  # closed by the caller
        print(_encodable(line, sys.stderr), file=sys.stderr, flush=True)


def _encodable(line: str, stream: TextIO | None) -> str:
    """The line with characters escaped that the stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)


@contextlib.contextmanager
def stopping(what_holds: str) -> Iterator[None]:
    """Ctrl-C in it is told of in a sentence, then goes on to the command line, which ends with its code."""
    try:
        yield
    except KeyboardInterrupt:
        print_notice(f"Stopped; {what_holds}.")
        raise


def is_first_time(what: str, home: Path | None) -> bool:
    """Whether the notice `what` (a file name) was not shown yet; from now on it was. True if that cannot be stored."""
    from edgetts.pack.locate import cache_folder

    shown = cache_folder(home) / "told" / what
    try:
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # a read-only or full disk: shown every time
        return True
    return True


def mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MiB"


def print_json(values: Mapping[str, Any]) -> None:
    """One JSON object on one line of stdout; NaN and infinity become null."""
    print(json.dumps(_plain(values), ensure_ascii=True, allow_nan=False), flush=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, os.PathLike) else value


DESCRIPTION_WIDTH = 40  # characters of the current stage
_NEVER_REACHED = 1.0 + 1e-9  # reaching the total would stop the clock, but another stage may follow


class TerminalBar(ABC):
    """A bar on stderr, if that is a terminal: it appears with the first progress and is erased at the end."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._is_shown = enabled and sys.stderr is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @abstractmethod
    def _columns(self) -> list[Any]:
        """What stands right of the bar: columns of rich."""

    def _show(self, what: str, done: float, total: float) -> None:
        if not self._is_shown:
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress

            about = TextColumn("{task.description}", markup=False)
            self._bar = RichProgress(about, BarColumn(), *self._columns(), console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=total, completed=done)
            self._bar.start()
        self._bar.update(self._task, description=what, completed=done, total=total)


class ProgressBar(TerminalBar):
    """Call it with the current stage and its progress (0 to 1)."""

    def __call__(self, what: str, share: float) -> None:
        self._show(one_line(what)[:DESCRIPTION_WIDTH], min(max(share, 0.0), 1.0), _NEVER_REACHED)

    def _columns(self) -> list[Any]:
        from rich.progress import TimeElapsedColumn

        return [TimeElapsedColumn()]
