"""Many clients at once, each of which checks that it hears its own text.

In: a daemon's address and what each client must hear. Out: how long each request took, and what went wrong.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np

from edgetts.audio.formats import wav_header

TIMEOUT_S = 300.0
PATIENCE_S = 120.0  # after the end, of a client that was not served yet


@dataclass(frozen=True)
class Task:
    """What one client asks for, and the hash of what it must hear."""

    body: dict[str, object]
    sha256: str


@dataclass
class Outcome:
    """Of one number of clients."""

    n_clients: int
    first_s: list[float] = field(default_factory=list)  # until the first byte of the sound, the wait in line included
    total_s: list[float] = field(default_factory=list)
    n_busy: int = 0  # status 429
    n_unserved: int = 0  # clients that got nothing else, on a machine that is too slow for so many
    wrong: list[str] = field(default_factory=list)

    def percentiles(self) -> list[float]:
        """p50 and p95 of the first byte, p50 and p95 of the whole, in seconds."""
        return [float(np.percentile(times, at)) for times in (self.first_s, self.total_s) for at in (50, 95)]


def sha256_of_wav(sample_rate: int, samples: bytes) -> str:
    """As the daemon streams it: a header without sizes, then 16-bit samples."""
    return hashlib.sha256(wav_header(sample_rate, None) + samples).hexdigest()


def burden(url: str, tasks: Sequence[Task], seconds: float) -> Outcome:
    """A client per task, each of which asks again and again for `seconds`, and at least once with success."""
    return asyncio.run(_burden(url, tasks, seconds))


async def _burden(url: str, tasks: Sequence[Task], seconds: float) -> Outcome:
    outcome = Outcome(len(tasks))
    deadline = time.monotonic() + seconds
    await asyncio.gather(*(_client(url, number, task, deadline, outcome) for number, task in enumerate(tasks)))
    return outcome


async def _client(url: str, number: int, task: Task, deadline: float, outcome: Outcome) -> None:
    pause = random.Random(number)
    n_done = 0
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as client:
        while time.monotonic() < deadline or not n_done:
            if time.monotonic() > deadline + PATIENCE_S:
                outcome.n_unserved += 1
                return
            started = time.perf_counter()
            hashed, first_s = hashlib.sha256(), None
            try:
                async with client.stream("POST", "/v1/audio/speech", json=task.body) as answer:
                    if answer.status_code == 429:
                        outcome.n_busy += 1
                        retry_s = float(answer.headers["Retry-After"])
                        await asyncio.sleep(min(retry_s, 5.0) * (0.5 + pause.random()))
                        continue
                    if answer.status_code != 200:
                        outcome.wrong.append(f"client {number}: status {answer.status_code}")
                        return
                    async for piece in answer.aiter_raw():
                        first_s = first_s or time.perf_counter() - started
                        hashed.update(piece)
            except httpx.HTTPError as error:
                outcome.wrong.append(f"client {number}: {error!r}")
                return
            if hashed.hexdigest() != task.sha256 or first_s is None:
                outcome.wrong.append(f"client {number}: other sound than its own")
                return
            n_done += 1
            outcome.first_s.append(first_s)
            outcome.total_s.append(time.perf_counter() - started)


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    return _status_mib(pid, "VmRSS")


def held_mib(pid: int) -> float:
    """The part of it that no file backs: pages of libraries and packs are shared, and the system may drop them."""
    return _status_mib(pid, "RssAnon")


def _status_mib(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def n_descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def descriptors(pid: int) -> Counter[str]:
    """What the descriptors of a process are open on, without the numbers of sockets and pipes."""
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[re.sub(r"^(socket|pipe):.*", r"\1", str(entry.readlink()))] += 1
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


HEAP_BYTES = 64 << 20  # glibc reserves as much, aligned to it, for each piece of a thread's heap


def n_thread_heaps(pid: int) -> int:
    """Pieces of heaps that glibc has made beside the main one: a used part, then a reserved one up to the next multiple."""
    rows = []
    for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
        addresses, mode, _, _, inode, *_ = line.split(maxsplit=5)
        low, high = (int(part, 16) for part in addresses.split("-"))
        rows.append((low, high, mode, inode))
    return sum(
        low % HEAP_BYTES == 0
        and (mode, inode) == ("rw-p", "0")
        and (high % HEAP_BYTES == 0 or (start == high and kind == "---p" and end % HEAP_BYTES == 0))
        for (low, high, mode, inode), (start, end, kind, _) in pairwise(rows)
    )
