"""What every verb needs: the environment, one-line errors, notices and progress on stderr, JSON on stdout.

Nothing here brings in torch or numpy. Everything for people goes to stderr, everything for programs to
stdout, so that a pipe sees only what it asked for.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from edgetts.cli.flags import with_flags
from edgetts.errors import UsageError, one_line, printable

if TYPE_CHECKING:
    from edgetts.compute import Compute

STDIO = "-"
SOCKET_NAME = "edgetts.sock"
EXIT_TERMINATED = 143  # 128 + SIGTERM


@dataclass(frozen=True)
class Environment:
    """What the environment variables said when the command started; nothing else reads them."""

    home: Path | None  # EDGETTS_HOME: packs, voices and cache in one folder
    pack: str | None  # EDGETTS_PACK: pack when --pack is not given
    voice: str | None  # EDGETTS_VOICE: voice when --voice is not given
    device: str | None  # EDGETTS_DEVICE: device when --device is not given
    kernel: str | None  # EDGETTS_KERNEL: what multiplies by quantized weights, see `edgetts info --kernels`
    hub_cache: Path  # HF_HUB_CACHE or HF_HOME: where Hugging Face downloads lie
    hub_endpoint: str | None  # HF_ENDPOINT: the hub or mirror to download from when --mirror is not given
    token: str | None = field(default=None, repr=False)  # EDGETTS_TOKEN: what a daemon asks its clients for
    socket: str | None = None  # EDGETTS_SOCKET: where the daemon of this user listens
    runtime_dir: str | None = None  # XDG_RUNTIME_DIR: where it listens otherwise
    notify_socket: str | None = None  # NOTIFY_SOCKET: where systemd is told how a service goes
    n_passed_sockets: int = 0  # LISTEN_FDS: sockets that systemd opened for this process

    @property
    def daemon_socket(self) -> Path | None:
        """Where a daemon and its clients meet; None where this user has no place for that."""
        if self.socket is not None:
            return Path(self.socket).expanduser()
        return Path(self.runtime_dir) / SOCKET_NAME if self.runtime_dir is not None else None

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Environment:
        """Empty variables count as not set."""
        home = variables.get("EDGETTS_HOME")
        hub_home = variables.get("HF_HOME") or "~/.cache/huggingface"
        hub_cache = variables.get("HF_HUB_CACHE") or f"{hub_home}/hub"
        return cls(
            home=Path(home).expanduser() if home else None,
            pack=variables.get("EDGETTS_PACK") or None,
            voice=variables.get("EDGETTS_VOICE") or None,
            device=variables.get("EDGETTS_DEVICE") or None,
            kernel=variables.get("EDGETTS_KERNEL") or None,
            hub_cache=Path(hub_cache).expanduser(),
            hub_endpoint=variables.get("HF_ENDPOINT") or None,
            token=variables.get("EDGETTS_TOKEN") or None,
            socket=variables.get("EDGETTS_SOCKET") or None,
            runtime_dir=variables.get("XDG_RUNTIME_DIR") or None,
            notify_socket=variables.get("NOTIFY_SOCKET") or None,
            n_passed_sockets=_passed_sockets(variables),
        )


def _passed_sockets(variables: Mapping[str, str]) -> int:
    """How many sockets systemd passed to this process, and not to one that started it."""
    number = variables.get("LISTEN_FDS", "")
    return int(number) if number.isdecimal() and variables.get("LISTEN_PID") == str(os.getpid()) else 0


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Around the import of torch and what stands on it: all of that stays, and looking for garbage in it, then and
    later, is a tenth of the work."""
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


def _complete_packs(incomplete: str) -> list[str]:
    from edgetts.cli import complete  # which reads the environment by this module

    return complete.packs(incomplete)


PackOption = Annotated[
    str | None,
    typer.Option(
        "--pack",
        "-p",
        metavar="PACK",
        help="Model pack: a folder, the name of one under the user's packs, or builtin. "
        "Default: $EDGETTS_PACK, the pack called 'default', the built-in one.",
        rich_help_panel="Model",
        show_default=False,
        autocompletion=_complete_packs,
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
        help="How to compute. exact: fp32. fast: 16 bits where the machine has them, on the CPU activations of the GPT "
        "in 8 bits beside quantized weights. reference: plain fp32 without compiled kernels. "
        "[what the pack names; fast on a GPU and where the pack's report says what it costs, else exact]",
        rich_help_panel="Model",
        show_default=False,
    ),
]
MemoryBudgetOption = Annotated[
    str | None,
    typer.Option(
        "--memory-budget",
        metavar="SIZE",
        help="Stay within so much memory, such as 1500M or 2G, or refuse: what can be bounded is, and is told. "
        "On the CPU; learning a voice is not counted.",
        rich_help_panel="Model",
        show_default=False,
    ),
]
AdaptStepsOption = Annotated[
    int | None,
    typer.Option(
        "--adapt-steps",
        help="Adapt the sound to the recording of a new voice, in 1 to 2000 steps: takes time once and brings it "
        "closer to the voice; 0: do not. [the pack's own; the published model: 0]",
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


def check_adapts(adapt_steps: int | None, is_recording: bool, voice: str | None) -> None:
    """Raises UsageError when adaptation was asked for and there is no recording to adapt to."""
    if adapt_steps is not None and not is_recording:
        raise UsageError(
            f"--adapt-steps needs the recording of a voice, and {voice or 'the default voice'} is a voice already: "
            "give the recording, or leave --adapt-steps out."
        )


def compute_name(given: str | None) -> Compute | None:
    """What --compute says, checked; None: nothing, and the pack and the device decide. Raises UsageError."""
    from edgetts.compute import check_compute

    name: Any = given
    if name is not None:
        check_compute(name)
    chosen: Compute | None = name
    return chosen


def memory_bytes(given: str | None) -> int | None:
    """What --memory-budget says, in bytes. Raises UsageError."""
    from edgetts.memory import parse_size

    return None if given is None else parse_size(given)


def print_error(message: str) -> None:
    to_stderr(f"edgetts: {one_line(with_flags(message))}")


def print_notice(message: str) -> None:
    to_stderr(f"note: {one_line(with_flags(message))}")


def print_line(text: str = "") -> None:
    """One line on stdout, for people: whatever text of a file is in it does nothing but appear."""
    print(_encodable(printable(text), sys.stdout), flush=True)


def to_stderr(line: str) -> None:
    """One line on stderr, if the process has one."""
    if sys.stderr is not None:  # closed by the caller
        print(_encodable(line, sys.stderr), file=sys.stderr, flush=True)


def _encodable(line: str, stream: TextIO | None) -> str:
    """The line as a terminal of another encoding can show it."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)


def is_first_time(what: str, home: Path | None) -> bool:
    """Whether the user is to be told `what` (a file name) now; from then on no more, as far as that can be kept."""
    from edgetts.pack.locate import cache_folder

    told = cache_folder(home) / "told" / what
    try:
        told.parent.mkdir(parents=True, exist_ok=True)
        told.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # a read-only or full disk: said every time rather than never
        return True
    return True


def mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MiB"


def print_json(values: Mapping[str, Any]) -> None:
    """One JSON object on one line of stdout; numbers that JSON does not know become null."""
    print(json.dumps(_plain(values), ensure_ascii=True, allow_nan=False), flush=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, os.PathLike) else value


_NEVER_REACHED = 1.0 + 1e-9  # a total that is reached stops the clock, and another stage may follow


class ProgressBar:
    """A progress bar on stderr, there only on a terminal and gone when done.

    Call it with what is being done and how far that is (0 to 1); the bar appears with the first call.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled and sys.stderr is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, what: str, share: float) -> None:
        if not self._enabled:
            return
        if self._bar is None:
            self._start()
        self._bar.update(self._task, description=one_line(what)[:40], completed=min(max(share, 0.0), 1.0))

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=_NEVER_REACHED)
        self._bar.start()
