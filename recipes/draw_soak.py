"""Plots soak tests: resident memory after each call, one curve per report of `edgetts bench --soak N --json`.

In: reports. Out: a PNG. It needs matplotlib (the extra `train`) and measures nothing.

    edgetts bench --soak 300 --json > after.json
    python recipes/draw_soak.py soak.png before.json after.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

SIZE_INCHES, DPI = (8, 4.5), 110


def draw(target: Path, reports: list[Path]) -> None:
    """One curve per report, named by its file. Raises ValueError for a report without a soak test."""
    figure, axes = pyplot.subplots(figsize=SIZE_INCHES)
    for path in reports:
        report = json.loads(path.read_text(encoding="utf-8"))
        soak = report["soak"]
        if soak is None:
            raise ValueError(f"{path} has no soak test: make it with `edgetts bench --soak N --json`.")
        label = f"{path.stem}, {report['pack']}: {soak['growth_mb']:+.0f} MB from call {soak['settled_at']}"
        axes.plot(range(len(soak["rss_mb"])), soak["rss_mb"], label=label)
    axes.set(xlabel="calls of 1 to 12 words", ylabel="resident memory, MB")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(target, dpi=DPI)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("Give the picture's name and at least one report: python recipes/draw_soak.py soak.png report.json")
    draw(Path(sys.argv[1]), [Path(each) for each in sys.argv[2:]])
