"""Load on `edgetts serve` over loopback: 1, 4, 16 and 64 clients at once, each with a text and a seed of its own, whose
sound must be that of the same call without a daemon. Prints a table; exit code 1 if anything but status 429 went wrong.

    PYTHONPATH=tests python tests/server/load.py --seconds 45
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from helpers.daemon import QUICK, home_of
from helpers.load import Task, burden, memory_mib, n_descriptors, sha256_of_wav
from helpers.serving import serving

from edgetts.api import TTS

COUNTS = (1, 4, 16, 64)


def tasks_of(tts: TTS, voice: str, count: int) -> list[Task]:
    """One per client, with the hash of what this process says."""
    tasks = []
    for number in range(count):
        text = f"Client {number} of {count} says this, and nobody else does."
        with tts.stream(text, voice, dtype="int16", seed=number, **QUICK) as stream:
            samples = b"".join(chunk.samples.tobytes() for chunk in stream)
        body = {"input": text, "voice": voice, "seed": number, "options": QUICK, "response_format": "wav"}
        tasks.append(Task(body, sha256_of_wav(tts.sample_rate, samples)))
    return tasks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--seconds", type=float, default=45.0, help="per number of clients")
    parser.add_argument("--pack", type=Path, help="the small pack of the tests; without it the built-in model")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) if given.pack is None else home_of(Path(folder), given.pack)
        pack, voice = (str(given.pack), "golden") if given.pack else ("builtin", "af_heart")
        tts = TTS.load(pack, device="cpu", home=home)
        tasks = tasks_of(tts, voice, max(given.clients))
        tts.close()
        with serving(home, pack) as served:
            return _run(served.url, served.process.pid, tasks, given.clients, given.seconds)


def _run(url: str, pid: int, tasks: list[Task], counts: list[int], seconds: float) -> int:
    burden(url, tasks[:2], 1.0)  # what the first requests allocate is not a leak
    wrong: list[str] = []
    print(
        "| clients | spoken | 429 | unserved | first byte p50, p95 (s) | whole p50, p95 (s) | memory (MiB) | descriptors |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for count in counts:
        before = memory_mib(pid), n_descriptors(pid)
        outcome = burden(url, tasks[:count], seconds)
        time.sleep(1.0)  # connections close
        after = memory_mib(pid), n_descriptors(pid)
        wrong += outcome.wrong
        if not outcome.total_s:
            continue
        first50, first95, total50, total95 = outcome.percentiles()
        print(
            f"| {count} | {len(outcome.total_s)} | {outcome.n_busy} | {outcome.n_unserved} | {first50:.2f}, {first95:.2f} "
            f"| {total50:.2f}, {total95:.2f} | {before[0]:.0f} to {after[0]:.0f} | {before[1]} to {after[1]} |",
            flush=True,
        )
    print(f"\nwrong: {len(wrong)}", *wrong[:10], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
