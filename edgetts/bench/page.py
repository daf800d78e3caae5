"""A measurement as one HTML page: a waterfall of the stages with their rooflines, and the numbers.

In: a `Report`. Out: a string; the page needs no other file, no script and no network, and follows the
reader's light or dark colors. It measures nothing.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

from edgetts.bench.machine import MIB
from edgetts.bench.report import Report, StageReport
from edgetts.bench.soak import MAX_WORDS, Soak

_CHAIN = ("prefill", "decode", "features", "s2mel", "vocoder")  # the stages of a call in order
_LABELS = {
    "enroll": "enroll a voice",
    "prefill": "prefill",
    "decode": "codes",
    "decode_per_code": "one code",
    "features": "features",
    "dit_step": "one DiT evaluation",
    "s2mel": "mel",
    "vocoder": "waveform",
    "whole": "whole call",
}
_WIDTH, _LABEL_WIDTH, _VALUE_WIDTH, _ROW, _BAR = 760, 120, 110, 34, 18  # pixels
_SOAK_HEIGHT = 160
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2433; --paper: #fff; --bar: #3d6fd9; --floor: #e0912f; --line: #d5dae3 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8f0; --paper: #151922; --bar: #6f9bf5; --floor: #f0ab55; --line: #333b4a } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { padding: .25rem .8rem; text-align: right }
td, th { border-bottom: 1px solid var(--line) }
td:first-child, th:first-child { text-align: left } svg { max-width: 100%; height: auto }
.bar { fill: var(--bar) } .floor { fill: var(--floor) } .grid { stroke: var(--line) }
.curve { fill: none; stroke: var(--bar); stroke-width: 2 }
text { fill: var(--ink); font: 13px system-ui }
.big { font-size: 1.6rem; margin-right: .4rem } .fact { display: inline-block; margin: 0 2rem 1rem 0 }
"""


def render(report: Report) -> str:
    """The page, UTF-8 text."""
    title = f"{report.pack} on {report.machine.get('processor') or report.machine['device']}"
    facts = [
        (f"{report.rtf:.3g}", "RTF, compute time over audio time"),
        (_time(report.stages["whole"].median_s), f"for {report.audio_s:.1f} s of speech"),
        (f"{report.peak_rss_mb:.0f} MB", "peak memory of the run phase"),
    ]
    if report.first_audio_ms is not None:
        facts.append((_time(report.first_audio_ms / 1e3), "until the first audio"))
    if report.startup is not None:
        facts.append((_time(report.startup.first_sound_s), "from program start to the first audio"))
    if report.peak_cuda_mb is not None:
        facts.append((f"{report.peak_cuda_mb:.0f} MB", "peak GPU memory"))
    if report.soak is not None:
        soak = report.soak
        facts.append((f"{soak.growth_mb:+.0f} MB", f"from call {soak.settled_at} to {soak.n_calls}"))
    facts += [(f"{each.speedups['whole']:.2f}×", f"as fast as {each.name}") for each in report.comparisons]
    parts = [
        f"<h1>{_escape(title)}</h1>",
        "".join(f"<span class=fact><span class=big>{_escape(v)}</span>{_escape(what)}</span>" for v, what in facts),
        "<h2>One call, networks loaded</h2>",
        _waterfall(report),
        "<p>Bars are medians, one after the other. The mark in a bar is the roofline: the best time that memory "
        "bandwidth and matrix rate, measured in the same run, allow.</p>",
        "<h2>Stages</h2>",
        _stage_table(report),
        "<h2>Packs</h2>",
        _pack_table(report),
        *(() if report.soak is None else ("<h2>Memory over many calls</h2>", _soak(report.soak))),
        "<h2>Call and machine</h2>",
        _facts_table({**report.about, **report.machine, "load_s": report.load_s, "warmup_s": report.warmup_s}),
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _waterfall(report: Report) -> str:
    """Stages of one call as bars, each beginning where the one before ends."""
    n_codes = int(report.about["n_codes"])
    one = report.stages["decode_per_code"]
    lengths: dict[str, tuple[float, float | None]] = {
        name: (stage.median_s, stage.floor_s) for name, stage in report.stages.items()
    }
    lengths["decode"] = (
        one.median_s * (n_codes - 1),
        None if one.floor_s is None else one.floor_s * (n_codes - 1),
    )
    total = sum(lengths[name][0] for name in _CHAIN)
    scale = (_WIDTH - _LABEL_WIDTH - _VALUE_WIDTH) / total
    rows, start = [], 0.0
    for i, name in enumerate(_CHAIN):
        seconds, floor = lengths[name]
        left, top = _LABEL_WIDTH + start * scale, i * _ROW + (_ROW - _BAR) / 2
        rows.append(
            f'<line class="grid" x1="{left:.1f}" x2="{left:.1f}" y1="{i * _ROW}" y2="{(i + 1) * _ROW}"/>'
            f'<text x="0" y="{top + 14:.1f}">{_escape(_LABELS[name])}</text>'
            f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{max(1.0, seconds * scale):.1f}" height="{_BAR}">'
            f"<title>{_escape(_LABELS[name])}: {_time(seconds)}</title></rect>"
        )
        if floor is not None:
            rows.append(
                f'<rect class="floor" x="{left:.1f}" y="{top + _BAR - 5:.1f}" '
                f'width="{max(1.0, min(floor, seconds) * scale):.1f}" height="5">'
                f"<title>roofline: {_time(floor)}</title></rect>"
            )
        right = left + max(1.0, seconds * scale) + 6
        rows.append(f'<text x="{right:.1f}" y="{top + 14:.1f}">{_time(seconds)}</text>')
        start += seconds
    height = len(_CHAIN) * _ROW
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" '
        f'aria-label="Waterfall of the stages">{"".join(rows)}</svg>'
    )


def _soak(soak: Soak) -> str:
    """Resident memory as a line over calls."""
    width, top = _WIDTH - _LABEL_WIDTH - _VALUE_WIDTH, max(soak.rss_mb)
    points = " ".join(
        f"{_LABEL_WIDTH + width * i / soak.n_calls:.1f},{_SOAK_HEIGHT * (1 - mb / top) + _BAR:.1f}"
        for i, mb in enumerate(soak.rss_mb)
    )
    bottom = _SOAK_HEIGHT + _BAR
    at_settled = _LABEL_WIDTH + width * soak.settled_at / soak.n_calls
    drawing = (
        f'<svg viewBox="0 0 {_WIDTH} {bottom + _ROW}" width="{_WIDTH}" height="{bottom + _ROW}" role="img" '
        f'aria-label="Resident memory after each call">'
        f'<line class="grid" x1="{_LABEL_WIDTH}" x2="{_LABEL_WIDTH + width}" y1="{bottom}" y2="{bottom}"/>'
        f'<line class="grid" x1="{at_settled:.1f}" x2="{at_settled:.1f}" y1="{_BAR}" y2="{bottom}"/>'
        f'<polyline class="curve" points="{points}"/>'
        f'<text x="0" y="{_BAR + 14}">{top:.0f} MB</text><text x="0" y="{bottom}">0</text>'
        f'<text x="{at_settled:.1f}" y="{bottom + 20}">{soak.settled_at}</text>'
        f'<text x="{_LABEL_WIDTH + width + 6}" y="{bottom + 20}">{soak.n_calls} calls</text></svg>'
    )
    return drawing + (
        f"<p>{soak.settled_mb:.0f} MB after call {soak.settled_at}, {soak.end_mb:.0f} MB after call {soak.n_calls}; "
        f"{soak.calls_per_minute:.3g} calls per minute of 1 to {MAX_WORDS} words.</p>"
    )


def _stage_table(report: Report) -> str:
    heads = ["stage", "median", "spread", "runs", "roofline", "of the roofline"]
    heads += [head for each in report.comparisons for head in (each.name, f"against {each.name}")]
    rows = [_stage_row(name, stage, report) for name, stage in report.stages.items()]
    return _table(heads, rows)


def _stage_row(name: str, stage: StageReport, report: Report) -> list[str]:
    floor, ratio = stage.floor_s, stage.floor_ratio
    row = [_LABELS[name], _time(stage.median_s), _time(stage.spread_s), str(len(stage.seconds))]
    row += ["" if floor is None else _time(floor), "" if ratio is None else f"{ratio:.0%}"]
    for each in report.comparisons:
        known = name in each.stages
        row += [_time(each.stages[name].median_s), f"{each.speedups[name]:.2f}×"] if known else ["", ""]
    return row


def _pack_table(report: Report) -> str:
    heads = ["pack", "family", "size", "weights while speaking", "to enroll a voice", "memory for that"]
    rows = []
    for each in report.packs:
        row = [each.name, each.family, _size(each.pack_bytes), _size(each.run_bytes)]
        row += ["" if each.enroll_s is None else _time(each.enroll_s)]
        rows.append([*row, "" if each.enroll_bytes is None else _size(each.enroll_bytes)])
    return _table(heads, rows)


def _facts_table(facts: Mapping[str, Any]) -> str:
    return _table(["", ""], [[name, _value(value)] for name, value in facts.items()])


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{_escape(h)}</th>" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{_escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_value(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _size(n_bytes: float) -> str:
    return f"{n_bytes / MIB:.0f} MiB"


def _time(seconds: float) -> str:
    """Seconds in a readable unit."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _escape(text: str) -> str:
    return html.escape(text)
