"""Reads whole texts from files and standard input: UTF-8, or UTF-16 with a byte order mark.

In: a path or `-`. Out: a string, or UsageError. The error for a text in another encoding names a likely one, but the
text is never decoded by a guess. `say.live` reads text incrementally.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import BinaryIO

from edgetts.cli.common import STDIO
from edgetts.errors import EdgeTTSError, UsageError

MAX_TEXT_MIB = 16  # hundreds of hours of speech; an endless source exceeds it
MAX_TEXT_BYTES = MAX_TEXT_MIB << 20
_ENCODING_SAMPLE_BYTES = 1 << 16
_EXPECTED_SHARE = 0.9  # of the non-ASCII characters
# Legacy encodings: Python's codec, the name to show, and the usual non-ASCII characters. GB 2312, the frequent part of
# GB 18030, comes first: Western text is almost never valid GB 2312.
_OLD_ENCODINGS = (
    (
        *("gb2312", "gb18030"),
        re.compile("[\u4e00-\u9fff\u3000-\u303f\uff01-\uff5e\u2014\u2018-\u201d\u2026\u00b7]"),
    ),
    (
        *("cp1252", "cp1252"),
        re.compile(
            "[\u00a0-\u00ff\u2013\u2014\u2018\u2019\u201c-\u201e\u2026\u20ac\u0152\u0153\u0160\u0161\u0178\u017d\u017e]"
        ),
    ),
)


def read_text_file(path: str) -> str:
    """Text from a file or, for `-`, from standard input. Raises UsageError if it cannot be read or decoded."""
    if path == STDIO:
        if sys.stdin is None:
            raise UsageError("Standard input is closed: give the text as an argument or with -f FILE.")
        return decode_text(_bounded(sys.stdin.buffer, "standard input"), "standard input")
    try:
        file = Path(path)
        if file.is_dir():
            raise UsageError(f"{path} is a folder; give a text file with -f.")
        if file.is_char_device() and not file.samefile("/dev/stdin"):
            raise UsageError(f"{path} is a device, not a text file.")
        with file.open("rb") as opened:
            data = _bounded(opened, path)
    except EdgeTTSError:
        raise
    except FileNotFoundError:
        raise UsageError(f"There is no text file at {path}; check the path.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"The text file {path} cannot be read ({reason.lower()}).") from None
    return decode_text(data, path)


def _bounded(file: BinaryIO, name: str) -> bytes:
    """All bytes of a file, which may be endless. Raises UsageError above MAX_TEXT_BYTES."""
    data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise UsageError(
            f"The text in {name} has more than {MAX_TEXT_MIB} MiB: give it in parts, or stream it from standard input "
            "without -o FILE."
        )
    return data


def decode_text(data: bytes, name: str) -> str:
    """Bytes as text. Raises UsageError that names the first undecodable byte."""
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # as Windows shells write it
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"The text in {name} is not UTF-8 (byte 0x{data[error.start]:02x} at position {error.start}): "
            f"{recode_hint(data)}."
        ) from None


def recode_hint(data: bytes) -> str:
    """Advice for text that is not UTF-8, with a likely encoding if there is one."""
    guess = likely_encoding(data)
    if guess is None:
        return "save it as UTF-8, or convert it with `iconv -f ENCODING -t utf-8`"
    return f"it looks like {guess}; convert it with `iconv -f {guess} -t utf-8`"


def likely_encoding(data: bytes) -> str | None:
    """The legacy encoding in which these bytes decode to usual characters; None: none of the known ones."""
    sample = data[:_ENCODING_SAMPLE_BYTES]
    for codec, name, expected in _OLD_ENCODINGS:
        # The sample may end inside a character.
        text = next((t for t in (_decoded(sample[: len(sample) - cut], codec) for cut in range(2)) if t), "")
        foreign = [char for char in text if ord(char) >= 0x80]
        if foreign and sum(bool(expected.match(char)) for char in foreign) >= _EXPECTED_SHARE * len(foreign):
            return name
    return None


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None
