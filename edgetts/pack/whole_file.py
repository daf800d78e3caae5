"""Writing a small file so that nobody ever sees half of it.

In: a path and the content. Out: the file, replaced in one step. A file that is open or mapped elsewhere keeps its old
content there: nothing in this program writes into a file that is in use.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_SHORT_NAME = 100  # characters of the name that a temporary one begins with: file systems allow 255 bytes


def replace_file(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write `data` to `path`, whole or not at all. mode: of the file, under the user's umask. Raises OSError."""
    part = path.with_name(f".{path.name[:_SHORT_NAME]}.{secrets.token_hex(4)}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:  # Ctrl-C too leaves nothing behind
        part.unlink(missing_ok=True)
        raise
