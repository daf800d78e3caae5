"""The report of a quantised pack as one HTML page: no scripts, no files beside it, bars and dots as inline SVG.

In: the quality table of `report.measure`. Out: the text of the page. Knows nothing about packs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_MB = 1_000_000
_WIDTH, _ROW, _LABEL, _VALUE = 760, 20, 170, 90  # pixels
_PLOT_HEIGHT, _MARGIN = 260, 40
_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%}text{font:12px system-ui,sans-serif}"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}text{fill:#ddd}}"
)
_LAYER = re.compile(r"(?:^|\.)(\d+)\.")


def page(name: str, recipe: str, description: str, quality: Mapping[str, Any]) -> str:
    """The whole page."""
    gpt, sound = quality["gpt"], quality["sound"]
    facts = (
        ("in memory while speaking", f"{quality['run_mb']:.1f} MB"),
        ("whole pack", f"{quality['pack_mb']:.1f} MB"),
        ("same most likely code", f"{100 * gpt['top1']:.1f} % of {gpt['n_codes']} codes"),
        ("divergence of the GPT, mean", f"{gpt['kl_mean']:.3g} nats"),
        ("divergence, 99th percentile", f"{gpt['kl_p99']:.3g} nats"),
        ("log-mel distance", f"{sound['mel_distance']:.3g}"),
        ("log-mel distance of the waveform", f"{sound['waveform_mel_distance']:.3g}"),
        ("spectral convergence", f"{sound['spectral_convergence']:.3g}"),
    )
    rows = "".join(f"<tr><td>{escape(k)}</td><td class=n>{escape(v)}</td></tr>" for k, v in facts)
    snr = "".join(
        f"<h3>{escape(component)}</h3>{_dots(tensors)}" for component, tensors in quality["snr_db"].items()
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(name)}, {escape(recipe)}</title>"
        f"<style>{_STYLE}</style><h1>{escape(name)} as {escape(recipe)}</h1><p>{escape(description)}.</p>"
        f"<p>Compared with {escape(str(quality['compared_with']))}, on texts that calibration did not see; the sound "
        f"with the same codes and the same noise.</p><table>{rows}</table>"
        f"<h2>Size of each component</h2>{_bars(quality['sizes'])}"
        "<h2>Signal to quantisation noise</h2><p>One dot per tensor, by layer; higher is closer to the original.</p>"
        f"{snr or '<p>Nothing is quantised.</p>'}</html>\n"
    )


def _bars(sizes: Mapping[str, Mapping[str, int]]) -> str:
    """Before (pale) and after (full) of every component."""
    largest = max((each["before"] for each in sizes.values()), default=1) or 1
    room = _WIDTH - _LABEL - _VALUE
    rows = []
    for i, (name, each) in enumerate(sizes.items()):
        y, label = i * _ROW, f"{each['after'] / _MB:.1f} of {each['before'] / _MB:.1f} MB"
        bar = f'<rect x="{_LABEL}" y="{y + 3}" height="{_ROW - 6}" fill="{_COLOURS[0]}"'
        before, after = (room * each[key] / largest for key in ("before", "after"))
        rows.append(
            f'<text x="0" y="{y + 14}">{escape(name)}</text>'
            f'{bar} width="{before:.1f}" opacity=".25"/>{bar} width="{after:.1f}"/>'
            f'<text x="{_LABEL + before + 6:.1f}" y="{y + 14}">{label}</text>'
        )
    return _svg(len(sizes) * _ROW, rows)


def _dots(tensors: Mapping[str, float]) -> str:
    """Decibels over layers, a colour for each kind of tensor."""
    kinds: dict[str, list[tuple[int, float, str]]] = {}
    for name, decibels in tensors.items():
        layer = _LAYER.search(name)
        kind = _LAYER.sub(".", name[layer.end() :] if layer else name)
        kinds.setdefault(kind, []).append((int(layer[1]) if layer else 0, decibels, name))
    shown = dict(sorted(kinds.items(), key=lambda item: -len(item[1]))[: len(_COLOURS)])
    rest = [dot for kind, dots in kinds.items() if kind not in shown for dot in dots]
    low, high = min(tensors.values()), max(tensors.values())
    last = max((layer for dots in kinds.values() for layer, _, _ in dots), default=0)
    room_x, room_y = _WIDTH - 2 * _MARGIN, _PLOT_HEIGHT - 2 * _MARGIN

    def place(layer: int, decibels: float) -> tuple[float, float]:
        x = _MARGIN + room_x * (layer / last if last else 0.5)
        return x, _PLOT_HEIGHT - _MARGIN - room_y * ((decibels - low) / (high - low) if high > low else 0.5)

    def dots_of(dots: Iterable[tuple[int, float, str]], colour: str) -> list[str]:
        marks = []
        for layer, decibels, name in dots:
            x, y = place(layer, decibels)
            title = f"<title>{escape(name)}: {decibels:.1f} dB</title>"
            marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}">{title}</circle>')
        return marks

    marks = [
        f'<text x="0" y="{_MARGIN + 4}">{high:.0f} dB</text>',
        f'<text x="0" y="{_PLOT_HEIGHT - _MARGIN + 4}">{low:.0f} dB</text>',
        f'<text x="{_WIDTH - _MARGIN}" y="{_PLOT_HEIGHT - 8}">layer {last}</text>',
        *dots_of(rest, "#999"),
    ]
    for i, (kind, dots) in enumerate(shown.items()):
        marks += dots_of(dots, _COLOURS[i])
        x = _MARGIN + i * (room_x / len(_COLOURS))
        marks.append(f'<circle cx="{x:.1f}" cy="10" r="4" fill="{_COLOURS[i]}"/>')
        marks.append(f'<text x="{x + 7:.1f}" y="14">{escape(kind.removesuffix(".weight"))}</text>')
    return _svg(_PLOT_HEIGHT, marks)


def _svg(height: int, marks: Iterable[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">{"".join(marks)}</svg>'
