"""The checksum of a manifest's own content.

In: a manifest's table as plain JSON values. Out: the sha256 of its content, independent of layout: keys sorted, no
spaces, the checksum itself left out. It detects damage and accidental edits. It is not a signature: anyone can renew
it (`edgetts.pack.seal`). Format 1 had no checksum; manifests of that format are read as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

CHECKSUM = "checksum"  # its key


def checksum(table: Mapping[str, Any]) -> str:
    """Hexadecimal sha256 of a manifest's content."""
    content = {key: value for key, value in table.items() if key != CHECKSUM}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def sealed(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the checksum of its content as the last key."""
    content = {key: value for key, value in table.items() if key != CHECKSUM}
    return {**content, CHECKSUM: checksum(content)}
