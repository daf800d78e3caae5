"""Start-up times of fresh processes: importing the package, and from start to the first audio of `edgetts say`.

In: a pack and a voice. Out: `Startup`. The second process does what the installed command does: interpreter, imports,
opening the pack, loading the networks, the first chunk. Each runs twice and the second run counts, with warm page cache
and caches of the pack. Knows no networks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from edgetts.compute import Compute
from edgetts.errors import GenerationError
from edgetts.voices.voice import Voice

LIMIT_S = 600.0  # a process that takes longer is stopped
_RUNS = 2
_TIMED_IMPORT = "import time; start = time.perf_counter(); import edgetts; print(time.perf_counter() - start)"


@dataclass(frozen=True)
class Startup:
    """Seconds, warm."""

    import_s: float  # of `import edgetts`, without the interpreter
    first_sound_s: float  # from the start of the process


def measure_startup(
    pack: Path, voice: Voice, text: str, folder: Path, *, device: str, compute: Compute, kernel: str
) -> Startup:
    """Start both processes. folder: for the voice and for caches. Raises GenerationError with a process's last line."""
    arguments = ["say", text, "--raw", "--quiet", "--seed", "0"]
    arguments += ["--pack", str(pack.absolute()), "--voice", str(voice.save(folder / "voice.safetensors"))]
    arguments += ["--device", device, "--compute", compute]
    # The process is the user's own command, so it gets the user's environment, but other folders.
    environment = {**os.environ, "EDGETTS_HOME": str(folder), "EDGETTS_KERNEL": kernel}
    import_s = first_sound_s = float("nan")
    for _ in range(_RUNS):
        import_s = float(_output([sys.executable, "-c", _TIMED_IMPORT], environment))
        first_sound_s = _until_first_byte([sys.executable, "-m", "edgetts", *arguments], environment)
    return Startup(import_s, first_sound_s)


def _output(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise GenerationError(f"A fresh process did not start: {_last_line(done.stderr)}")
    return done.stdout


def _until_first_byte(command: list[str], environment: dict[str, str]) -> float:
    """Seconds from the start of a process to its first output byte; the process is then ended."""
    started = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            first = process.stdout.read(1)
            elapsed = time.perf_counter() - started
            if not first:
                reason = process.stderr.read().decode(errors="replace")
                raise GenerationError(f"A fresh process wrote no audio: {_last_line(reason)}")
        finally:
            process.kill()
    return elapsed


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it gave no reason."
