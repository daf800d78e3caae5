"""Text from files and standard input, whole: UTF-8, or UTF-16 with its mark, or one sentence about what is wrong.

In: a path or `-`. Out: a string. For text in an old encoding it names the encoding where the bytes speak for one; it
never guesses the text itself. Text that arrives bit by bit is read in `say.live`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import BinaryIO

from edgetts.cli.common import STDIO
from edgetts.errors import EdgeTTSError, UsageError

MAX_TEXT_MIB = 16  # hundreds of hours of speech; more comes from a program that never ends
MAX_TEXT_BYTES = MAX_TEXT_MIB << 20
_ENCODING_SAMPLE_BYTES = 1 << 16
_EXPECTED_SHARE = 0.9  # of the characters beyond ASCII, to be sure enough
# Old encodings: Python's name, the name to convert from, and the characters that text in them has beside ASCII. GB 2312
# first, the frequent part of GB 18030: Western text is hardly ever sound GB 2312.
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
    """Text from a file or, for `-`, from standard input: UTF-8, or UTF-16 with its mark.

    Raises UsageError when it cannot be read or is not text.
    """
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
    """All of a file. Raises UsageError when it is longer than any text: it may be without end."""
    data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise UsageError(
            f"The text in {name} has more than {MAX_TEXT_MIB} MiB: give it in parts, or speak it as it arrives, "
            "without -o FILE."
        )
    return data


def decode_text(data: bytes, name: str) -> str:
    """Bytes as text. Raises UsageError naming the first byte that is not text."""
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # what Windows shells write
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"The text in {name} is not UTF-8 (byte 0x{data[error.start]:02x} at position {error.start}): "
            f"{recode_hint(data)}."
        ) from None


def recode_hint(data: bytes) -> str:
    """What to do about text that is not UTF-8; names an encoding only where the bytes speak for it."""
    guess = likely_encoding(data)
    if guess is None:
        return "save it as UTF-8, or convert it with `iconv -f ENCODING -t utf-8`"
    return f"it looks like {guess}; convert it with `iconv -f {guess} -t utf-8`"


def likely_encoding(data: bytes) -> str | None:
    """The one of a few old encodings that these bytes are likely to be in, by what they would say; None: no idea."""
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
