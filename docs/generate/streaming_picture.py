"""The timeline of a stream as a picture, from a measurement.

    python docs/generate/streaming_picture.py --measure   # speak with the built-in model; writes streaming.json
    python docs/generate/streaming_picture.py             # draw streaming.json as streaming.svg

The measurement notes when each code was decoded, when each chunk was rendered and how much sound it has. Playback is
computed from that: it starts with the first chunk, as a player without a buffer of its own would.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

PICTURES = Path(__file__).resolve().parents[1] / "pictures"
TEXT = "Sound starts before this sentence has been computed. The next one is decoded while the first one plays."
MARGIN, WIDTH, LEFT = 24, 960, 118
ROW, BAR = 46, 24
PAUSE_S = 0.05  # between two codes, which otherwise follow within milliseconds
STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de; }
  text { font: 14px system-ui, sans-serif; fill: #1f2328; }
  .small { font-size: 12px; fill: #59636e; }
  .line { stroke: #d0d7de; }
  .codes { fill: #8250df; } .sound { fill: #bc4c00; } .played { fill: #1a7f37; }
  .in-bar { font-size: 11px; fill: #ffffff; }
  .first { stroke: #cf222e; stroke-width: 2; } .first-text { fill: #cf222e; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d; } .line { stroke: #3d444d; }
    text { fill: #e6edf3; } .small { fill: #9198a1; }
    .codes { fill: #8957e5; } .sound { fill: #bd561d; } .played { fill: #238636; }
    .first { stroke: #ff7b72; } .first-text { fill: #ff7b72; } .in-bar { fill: #ffffff; }
  }
"""


def measure() -> dict[str, Any]:
    """Speak `TEXT` with the built-in model, warm, and note the times in seconds after the call."""
    import torch

    from edgetts import TTS
    from edgetts.attempt import GuardedCodes
    from edgetts.bench.machine import describe_machine
    from edgetts.pack.locate import builtin_pack
    from edgetts.streaming.renderer import SegmentRenderer

    decoded: list[list[float]] = []
    rendered: list[tuple[float, float]] = []
    steps, render = GuardedCodes.__iter__, SegmentRenderer.render

    def noted_steps(self: GuardedCodes) -> Iterator[list[int]]:
        decoded.append([time.perf_counter()])
        for new in steps(self):
            decoded[-1] += [time.perf_counter()] * len(new)
            yield new

    def noted_render(self: SegmentRenderer, *values: Any, **more: Any) -> Any:
        start = time.perf_counter()
        made = render(self, *values, **more)
        rendered.append((start, time.perf_counter()))
        return made

    with TTS.load(builtin_pack(), device="cpu") as tts:
        for _ in range(3):  # speeds of this machine are learned
            for _chunk in tts.stream(TEXT, dtype="int16"):
                pass
        with (
            patch.object(GuardedCodes, "__iter__", noted_steps),
            patch.object(SegmentRenderer, "render", noted_render),
        ):
            stream = tts.stream(TEXT)
            start = stream.started_at
            chunks = [(c.segment, c.seconds) for c in stream if c.seconds]
    about = describe_machine(torch.device("cpu"))
    renders = [[round(t - start, 4) for t in times] for times in rendered]
    return {
        "machine": f"{about['threads']} cores of {about['processor']}",
        "text": TEXT,
        "codes": [[round(t - start, 4) for t in times] for times in decoded],
        "renders": renders,
        "chunks": [[segment, round(seconds, 4)] for segment, seconds in chunks],
        "compute": tts.compute,
    }


def draw(table: dict[str, Any]) -> str:
    """The picture as SVG."""
    made, spoken = table["renders"], table["chunks"]
    pauses = [c for c in spoken if not _is_rendered(c, table)]
    played, at = [], made[0][1]
    ends = iter(made)
    for segment, seconds in spoken:
        ready = at if [segment, seconds] in pauses else next(ends)[1]
        begin = max(at, ready)
        played.append((begin, begin + seconds, segment))
        at = begin + seconds
    last = played[-1][1]
    step = 0.5 if last < 4 else 1.0
    scale = (WIDTH - LEFT - 2 * MARGIN) / last

    def x(seconds: float) -> float:
        return round(LEFT + MARGIN + seconds * scale, 1)

    height = 3 * ROW + 132
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="Codes are decoded, rendered as chunks of sound and played at the same time">',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="8"/>',
        f'<text x="{MARGIN}" y="30">{table["text"]}</text>',
    ]
    top, bottom = 62, 62 + 3 * ROW
    for i in range(int(last / step) + 1):
        parts.append(f'<line class="line" x1="{x(i * step)}" y1="{top - 6}" x2="{x(i * step)}" y2="{bottom}"/>')
        parts.append(
            f'<text class="small" x="{x(i * step)}" y="{bottom + 16}" text-anchor="middle">{i * step:g} s</text>'
        )
    for row, name in enumerate(("codes", "sound", "playback")):
        parts.append(f'<text x="{MARGIN}" y="{top + row * ROW + 17}">{name}</text>')
    for times in table["codes"]:
        for begin, end in _runs(times):
            parts.append(_bar("codes", x(begin), x(end), top, ""))
    for number, (begin, end) in enumerate(made, 1):
        parts.append(_bar("sound", x(begin), x(end), top + ROW, str(number)))
    number = 0
    for (begin, end, _segment), chunk in zip(played, spoken, strict=True):
        if chunk in pauses:
            middle = (x(begin) + x(end)) / 2
            parts.append(f'<text class="small" x="{middle}" y="{top + 2 * ROW + 16}" text-anchor="middle">pause</text>')
            continue
        number += 1
        parts.append(_bar("played", x(begin), x(end), top + 2 * ROW, f"chunk {number}"))
    first, done = made[0][1], made[-1][1]
    parts.append(f'<line class="first" x1="{x(first)}" y1="{top - 6}" x2="{x(first)}" y2="{bottom}"/>')
    parts.append(f'<text class="first-text" x="{x(first) + 6}" y="{top - 10}">first sound {1000 * first:.0f} ms</text>')
    parts.append(
        f'<text class="small" x="{MARGIN}" y="{bottom + 44}">Built-in model, {table["machine"]}, {table["compute"]}: '
        f"{last - first:.1f} s of speech, computed in {done:.1f} s, "
        f"heard after {first:.2f} s.</text>"
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _is_rendered(chunk: list[float], table: dict[str, Any]) -> bool:
    """Whether a chunk is sound; those that are not are pauses before a segment, the first of their segment."""
    segment, _ = chunk
    of_segment = [c for c in table["chunks"] if c[0] == segment]
    return not (segment > 0 and of_segment[0] == chunk)


def _runs(times: list[float]) -> list[tuple[float, float]]:
    """The stretches of decoding between pauses, in which it waits for an urgent chunk."""
    starts = [0, *(i for i in range(1, len(times)) if times[i] - times[i - 1] > PAUSE_S), len(times)]
    return [(times[a], times[b - 1]) for a, b in itertools.pairwise(starts) if b > a]


def _bar(kind: str, begin: float, end: float, y: float, words: str) -> str:
    width = max(end - begin - 1.5, 1.5)
    shown = words if width > 7 * len(words) else words.removeprefix("chunk ")
    label = ""
    if shown and width > 7 * len(shown):
        label = f'<text class="in-bar" x="{begin + width / 2:.1f}" y="{y + 16}" text-anchor="middle">{shown}</text>'
    return f'<rect class="{kind}" x="{begin}" y="{y}" width="{width:.1f}" height="{BAR}" rx="3"/>{label}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure on this machine first")
    data = PICTURES / "streaming.json"
    if parser.parse_args().measure:
        data.write_text(json.dumps(measure()) + "\n", encoding="utf-8")
    (PICTURES / "streaming.svg").write_text(draw(json.loads(data.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
