"""The check's findings as one page of HTML, without anything from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #d0d7de }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums }
th, td { border: 1px solid #d0d7de; padding: .2rem .6rem; text-align: left; vertical-align: top }
th { background: #f3f5f7; font-weight: 600 }
.bad { color: #b42318; font-weight: 600 } .good { color: #1a7f37; font-weight: 600 }
pre { background: #f6f8fa; padding: .6rem; overflow-x: auto; white-space: pre-wrap }
@media (prefers-color-scheme: dark) { body { background: #14171a; color: #dfe3e8 } th { background: #22272e }
 th, td, h2 { border-color: #3a4149 } pre { background: #1c2127 } }
"""


def render(table: Mapping[str, Any]) -> str:
    """table: what `check.json` holds."""
    failures = table["failures"]
    verdict = (
        '<p class="good">Nothing failed.</p>'
        if not failures
        else '<p class="bad">Failed:</p><ul>' + "".join(f'<li class="bad">{_text(f)}</li>' for f in failures) + "</ul>"
    )
    kind = " (dry run on the CPU: no figure here is a GPU's)" if table["dry_run"] else ""
    parts = "".join(f"<h2>{_text(name)}</h2>{_value(found)}" for name, found in table["sections"].items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>edgetts on a GPU</title><style>{_STYLE}</style><h1>edgetts on a GPU{kind}</h1>{verdict}{parts}</html>\n"
    )


def _value(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        columns = list(dict.fromkeys(key for row in value for key in row))
        head = "".join(f"<th>{_text(c)}</th>" for c in columns)
        rows = "".join("<tr>" + "".join(f"<td>{_value(r.get(c, ''))}</td>" for c in columns) + "</tr>" for r in value)
        return f"<table><tr>{head}</tr>{rows}</table>"
    if isinstance(value, Mapping):
        rows = "".join(f"<tr><th>{_text(k)}</th><td>{_value(v)}</td></tr>" for k, v in value.items())
        return f"<table>{rows}</table>"
    if isinstance(value, list):
        return f"<pre>{_text(chr(10).join(map(str, value)))}</pre>"
    if isinstance(value, float):
        return f"{value:.4g}"
    return _text(value)


def _text(value: Any) -> str:
    return html.escape(str(value))
