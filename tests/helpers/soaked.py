"""What the samples of a soak say (`tests/server/soak.py`).

In: its file of JSON lines. Out: a table, and whether something was wrong or grew.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edgetts.pack.page_release import KEPT_FREE_BYTES
from edgetts.server.host import SETTLED_S

WARM_UP = 0.15  # of the time, which says nothing about growth
MOST_MIB_PER_HOUR, MOST_DESCRIPTORS_PER_HOUR = 12.0, 2.0  # at rest
MOST_MIB_BUSY = KEPT_FREE_BYTES / 2**20  # from the first to the last third
LEAST_AT_REST = 12
QUANTITIES = ("memory_mib", "held_mib", "descriptors", "threads")
AT_REST_S = SETTLED_S + 2.0  # without a request; uvicorn closes idle connections after 5 s


def summarize(samples: Path) -> int:
    """Prints what the samples say; 1 if something was wrong or grew."""
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    settled = [row for row in rows if row["minute"] >= WARM_UP * rows[-1]["minute"]]
    rest = [row for row in settled if row["rests_s"] >= AT_REST_S and row["state"] == "loaded"]
    busy = [row for row in settled if row["streams"]]
    print(f"{rows[-1]['minute']:.0f} minutes, {rows[-1]['cpu_s'] / rows[-1]['minute'] / 0.6:.0f} % of a core")
    print("done:", ", ".join(f"{n} {kind}" for kind, n in sorted(rows[-1]["done"].items())))
    print("| | samples | first third, median | last third, median | least | most | slope an hour |")
    print("|---|---|---|---|---|---|---|")
    slopes = {name: _row(f"{name}, at rest", rest, name)[0] for name in QUANTITIES}
    growth = {name: _row(f"{name}, while clients speak", busy, name)[1] for name in QUANTITIES}
    wrong = rows[-1]["wrong"]
    print(f"wrong: {wrong}", *dict.fromkeys(text for row in rows for text in row["last_wrong"]), sep="\n")
    problems = [] if not wrong else ["something was wrong"]
    if len(rest) < LEAST_AT_REST:
        problems.append(f"only {len(rest)} samples at rest; {LEAST_AT_REST} are needed to judge")
    if slopes["memory_mib"] > MOST_MIB_PER_HOUR:
        problems.append(f"memory at rest grew by more than {MOST_MIB_PER_HOUR:g} MiB an hour")
    if slopes["descriptors"] > MOST_DESCRIPTORS_PER_HOUR:
        problems.append(f"descriptors at rest grew by more than {MOST_DESCRIPTORS_PER_HOUR:g} an hour")
    if growth["memory_mib"] > MOST_MIB_BUSY:
        problems.append(f"memory while clients speak grew by more than {MOST_MIB_BUSY:g} MiB")
    print("verdict:", "; ".join(problems) or "flat")
    return int(bool(problems))


def _row(title: str, rows: list[dict[str, float]], name: str) -> tuple[float, float]:
    """Prints a row of the table. Returns the slope an hour, and from the first to the last third."""
    if len(rows) < 3:
        return 0.0, 0.0
    hours, values = (np.array([row[key] for row in rows], float) for key in ("minute", name))
    third = len(values) // 3
    first, last = (float(np.median(part)) for part in (values[:third], values[-third:]))
    slope = float(np.polyfit(hours / 60, values, 1)[0])
    figures = f"{first:.0f} | {last:.0f} | {values.min():.0f} | {values.max():.0f} | {slope:+.1f}"
    print(f"| {title} | {len(values)} | {figures} |")
    return slope, last - first
