"""References to voices: names, whose rule keeps every path out, and whether a reference is a path instead.

Apart from `store`, so that clients of a daemon load no voice files.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from edgetts.errors import UsageError
from edgetts.files import TENSORS_SUFFIX
from edgetts.pack.locate import data_folder

# Letters and digits of any script, with single spaces, hyphens and underscores inside: valid on every file
# system, and never a path, an option or a file name (no dot).
_NAME = re.compile(r"\w(?:[\w-]| (?! ))*(?<! )")
MAX_NAME_LENGTH = 48  # characters: at most 192 bytes of UTF-8, and file names hold 255
# Device names on Windows, which may share the home folder.
_RESERVED = frozenset(("con", "prn", "aux", "nul", *(d + n for d in ("com", "lpt") for n in "123456789")))


def voices_folder(home: Path | None = None) -> Path:
    """The folder of named voices."""
    return data_folder(home) / "voices"


def check_name(name: str) -> str:
    """The name in its stored spelling (NFC). Raises UsageError for an invalid name."""
    normal = unicodedata.normalize("NFC", name)
    if not is_name(normal):
        raise UsageError(
            f"{name[:60]!r} is not a valid name of a voice: use 1 to {MAX_NAME_LENGTH} letters, digits, "
            "hyphens, underscores and single spaces, such as `my-voice`."
        )
    return normal


def looks_like_path(reference: str) -> bool:
    """Whether a reference to a voice is a path, not a name: it has a dot or a separator."""
    return "." in reference or "/" in reference or os.sep in reference or reference.startswith("~")


def is_recording(reference: object) -> bool:
    """Whether a reference to a voice is a recording: neither a name nor a voice file, nor a voice that is loaded."""
    if isinstance(reference, str):
        return looks_like_path(reference) and not reference.endswith(TENSORS_SUFFIX)
    return isinstance(reference, Path) and reference.suffix != TENSORS_SUFFIX


def is_name(name: str) -> bool:
    """Whether it is the name of a voice, in its stored spelling."""
    if not 0 < len(name) <= MAX_NAME_LENGTH or name.casefold() in _RESERVED:
        return False
    return _NAME.fullmatch(name) is not None
