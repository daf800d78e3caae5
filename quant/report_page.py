"""The report of a quantized pack as one HTML page, with inline SVG charts, without scripts or further files.

In: the quality table of `report.measure`. Out: the text of the page. It does not know packs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from edgetts.quant.tensor_file import MAX_SNR

_MB = 1_000_000
_WIDTH, _ROW, _LABEL, _VALUE = 760, 20, 150, 150  # pixels: chart, row, label, value beside a bar
_PLOT_HEIGHT, _LEFT, _BELOW, _LAYER_LABEL, _DOT = 220, 56, 24, 22, 3.5
_NO_LAYER = -1
_LEGEND_COLUMNS = 3
_COLORS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2")
_REST, _REST_COLOR = "others", "#999"
_STEPS = (1, 2, 5, 10, 20, 50)  # dB between two grid lines
_MAX_LINES = 6
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}"
    "text{font:12px system-ui,sans-serif;fill:#222}line{stroke:#8884}summary{cursor:pointer}"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}text{fill:#ddd}}"
)
_LAYER = re.compile(r"(?:^|\.)(\d+)\.")


def page(name: str, recipe: str, description: str, quality: Mapping[str, Any]) -> str:
    """The whole page."""
    rows = "".join(f"<tr><td>{escape(k)}</td><td class=n>{escape(v)}</td></tr>" for k, v in _facts(quality))
    snr = "".join(
        f"<h3>{escape(component)}</h3>{_dots(tensors)}{_list(tensors)}"
        for component, tensors in quality["snr_db"].items()
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(name)}, {escape(recipe)}</title>"
        "<meta name=viewport content='width=device-width'>"
        f"<style>{_STYLE}</style><h1>{escape(name)} as {escape(recipe)}</h1><p>{escape(description)}.</p>"
        f"<p>Compared with {escape(str(quality['compared_with']))}, on texts that calibration did not use; the audio "
        f"with the same codes and the same noise.</p><table>{rows}</table>"
        f"<h2>Size of each component</h2><p>Compared with fp32.</p>{_bars(quality['sizes'])}"
        "<h2>Signal to quantization noise</h2><p>One dot per tensor, by layer (–: "
        "outside the layers); higher is closer to the original.</p>"
        f"{snr or '<p>Nothing is quantized.</p>'}</html>\n"
    )


def _facts(quality: Mapping[str, Any]) -> list[tuple[str, str]]:
    gpt, sound = quality["gpt"], quality["sound"]
    facts = [
        ("in memory during synthesis", f"{quality['run_mb']:.1f} MB"),
        ("whole pack", f"{quality['pack_mb']:.1f} MB"),
        ("same most likely code", f"{100 * gpt['top1']:.1f} % of {gpt['n_codes']} codes"),
        ("KL divergence of the GPT, mean", f"{gpt['kl_mean']:.3g} nats"),
        ("KL divergence, 99th percentile", f"{gpt['kl_p99']:.3g} nats"),
        ("log-mel distance", f"{sound['mel_distance']:.3g}"),
        ("log-mel distance of the waveform", f"{sound['waveform_mel_distance']:.3g}"),
        ("spectral convergence", f"{sound['spectral_convergence']:.3g}"),
    ]
    judged = quality.get("judged", {})
    return facts + [(what.replace("_", " "), f"{value:.3g}") for what, value in judged.items()]


def _bars(sizes: Mapping[str, Mapping[str, int]]) -> str:
    """Size before (pale) and after (solid), per component."""
    largest = max((each["before"] for each in sizes.values()), default=1) or 1
    room = _WIDTH - _LABEL - _VALUE
    rows = []
    for i, (name, each) in enumerate(sizes.items()):
        y, label = i * _ROW, f"{each['after'] / _MB:.1f} of {each['before'] / _MB:.1f} MB"
        bar = f'<rect x="{_LABEL}" y="{y + 3}" height="{_ROW - 6}" fill="{_COLORS[0]}"'
        before, after = (room * each[key] / largest for key in ("before", "after"))
        rows.append(
            f'<text x="0" y="{y + 14}">{escape(name)}</text>'
            f'{bar} width="{before:.1f}" opacity=".25"/>{bar} width="{after:.1f}"/>'
            f'<text x="{_LABEL + max(before, after) + 6:.1f}" y="{y + 14}">{label}</text>'
        )
    return _svg(len(sizes) * _ROW, rows)


def _dots(tensors: Mapping[str, float]) -> str:
    """SNR over layers, one color per kind of tensor."""
    changed = {name: decibels for name, decibels in tensors.items() if decibels < MAX_SNR}
    same = f"<p>{len(tensors) - len(changed)} tensors are unchanged.</p>" if len(changed) < len(tensors) else ""
    if not changed:
        return same
    kinds = _by_kind(changed)
    top = _ROW * math.ceil(len(kinds) / _LEGEND_COLUMNS) + _ROW // 2
    bottom = top + _PLOT_HEIGHT
    layers = sorted({layer for dots in kinds.values() for layer, _, _ in dots})
    width = (_WIDTH - _LEFT) / len(layers)
    every = math.ceil(_LAYER_LABEL / width)  # so that layer labels do not overlap
    lines = _lines(min(changed.values()), max(changed.values()))

    def across(layer: int, share: float) -> float:
        return _LEFT + width * (layers.index(layer) + share)

    def down(decibels: float) -> float:
        return bottom - _PLOT_HEIGHT * (decibels - lines[0]) / (lines[-1] - lines[0])

    marks = [
        f'<line x1="{_LEFT - 8}" x2="{_WIDTH}" y1="{down(line):.1f}" y2="{down(line):.1f}"/>'
        f'<text x="{_LEFT - 12}" y="{down(line) + 4:.1f}" text-anchor="end">{line} dB</text>'
        for line in lines
    ]
    marks += [
        f'<text x="{across(layer, 0.5):.1f}" y="{bottom + 18}" text-anchor="middle">'
        f"{'–' if layer == _NO_LAYER else layer}</text>"
        for layer in layers[::every]
    ]
    for i, (kind, dots) in enumerate(kinds.items()):
        color = (*_COLORS, _REST_COLOR)[i]
        x, y = (i % _LEGEND_COLUMNS) * (_WIDTH / _LEGEND_COLUMNS), _ROW * (i // _LEGEND_COLUMNS)
        marks.append(f'<circle cx="{x + 5:.1f}" cy="{y + 10}" r="{_DOT}" fill="{color}"/>')
        marks.append(f'<text x="{x + 14:.1f}" y="{y + 14}">{escape(kind)}</text>')
        for layer, decibels, name in dots:
            at = f'cx="{across(layer, (i + 1) / (len(kinds) + 1)):.1f}" cy="{down(decibels):.1f}"'
            title = f"<title>{escape(name)}: {decibels:.1f} dB</title>"
            marks.append(f'<circle {at} r="{_DOT}" fill="{color}">{title}</circle>')
    return same + _svg(bottom + _BELOW, marks)


def _by_kind(tensors: Mapping[str, float]) -> dict[str, list[tuple[int, float, str]]]:
    """(layer, dB, name) by the tensor's name within its layer; the rarest kinds are merged."""
    kinds: dict[str, list[tuple[int, float, str]]] = {}
    for name, decibels in tensors.items():
        layer = _LAYER.search(name)
        kind = _LAYER.sub(".", name[layer.end() :] if layer else name).removesuffix(".weight")
        kinds.setdefault(kind, []).append((int(layer[1]) if layer else _NO_LAYER, decibels, name))
    ordered = sorted(kinds.items(), key=lambda item: -len(item[1]))
    shown = dict(ordered[: len(_COLORS)])
    rest = ordered[len(_COLORS) :]
    if len(rest) > 1:
        rest = [(_REST, [dot for _, dots in rest for dot in dots])]
    return {**shown, **dict(rest)}


def _lines(low: float, high: float) -> list[int]:
    """Grid lines: round dB values that enclose low..high, at least two."""
    step = next((s for s in _STEPS if (high - low) / s <= _MAX_LINES - 2), _STEPS[-1])
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def _list(tensors: Mapping[str, float]) -> str:
    rows = "".join(f"<tr><td>{escape(n)}</td><td class=n>{v:.1f} dB</td></tr>" for n, v in tensors.items())
    return f"<details><summary>{len(tensors)} tensors</summary><table>{rows}</table></details>"


def _svg(height: int, marks: Iterable[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">{"".join(marks)}</svg>'
