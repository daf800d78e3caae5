"""The reference of the daemon's HTTP interface, from its OpenAPI description. In: nothing. Out: Markdown."""

from __future__ import annotations

import json
from typing import Any

from edgetts.server.openapi import document
from edgetts.server.settings import Limits


def markdown() -> str:
    table = document(Limits(), has_token=False)
    parts = ["| request | what it does | status |\n|---|---|---|"]
    for path, methods in table["paths"].items():
        for method, operation in methods.items():
            parts.append(f"| `{method.upper()} {path}` | {operation['summary']} | {_answers(operation)} |")
    parts.append("\n## Fields of `POST /v1/audio/speech`\n")
    parts.append(_fields(table["components"]["schemas"]["Speech"]))
    upload = table["paths"]["/v1/voices"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    parts.append("\n## Fields of `POST /v1/voices` (multipart)\n")
    parts.append(_fields(upload))
    errors: dict[str, str] = {}
    for methods in table["paths"].values():
        for operation in methods.values():
            errors |= {s: a["description"] for s, a in operation["responses"].items() if int(s) >= 400}
    parts.append("\n## Errors\n\n| status | meaning |\n|---|---|")
    parts += [f"| {status} | {text} |" for status, text in sorted(errors.items())]
    return "\n".join(parts) + "\n"


def _answers(operation: dict[str, Any]) -> str:
    return ", ".join(status for status in sorted(operation["responses"]))


def _fields(schema: dict[str, Any]) -> str:
    rows = ["| field | value | default |", "|---|---|---|"]
    for name, value in schema["properties"].items():
        needed = "required" if name in schema.get("required", ()) else ""
        default = f"`{value['default']}`" if "default" in value else ""
        rows.append(f"| `{name}` | {_value(value)} | {needed or default} |")
    return "\n".join(rows) + "\n"


def _value(schema: dict[str, Any]) -> str:
    """A schema in words."""
    if "oneOf" in schema:
        return "; or ".join(_value(each) for each in schema["oneOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    kind = str(schema.get("type", "any"))
    if kind == "object" and "properties" in schema:
        names = ", ".join(f"`{name}`" for name in schema["properties"])
        return f"an object of {names}"
    if kind == "array":
        return f"a list of {_value(schema['items'])}"
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f"{kind}, {least:g} to {most:.17g}"
    if least is not None:
        return f"{kind}, at least {least:g}"
    if "maxLength" in schema:
        return f"{kind} of at most {schema['maxLength']:,} characters"
    return kind
