"""What users see when something is wrong: one sentence that says what failed, the value, what is
allowed, and the next command to try. Everything the package raises on purpose is an `EdgeTTSError`;
the command line prints its message and exits with `exit_code`.

Sentences quote what stands in files and names, so this is also the one place that makes text safe for a terminal."""

from __future__ import annotations

_JOINERS = frozenset("\u200c\u200d")  # invisible, but scripts and emoji are written with them


def printable(text: str) -> str:
    """Text that does nothing to a terminal but appear there.

    Escapes, other control characters, line ends, marks that turn the direction of writing and lone surrogates are
    spelled out, such as \\x1b and \\u202e.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else _spelled(c) for c in text)


def one_line(text: str) -> str:
    """Text as one printable line, whatever was in it (file names hold anything)."""
    return printable(" ".join(text.split()))


def _spelled(character: str) -> str:
    if character.isspace() and ord(character) > 0xFF:  # wide and narrow spaces of scripts
        return " "
    return character.encode("unicode_escape").decode("ascii")


class EdgeTTSError(Exception):
    """Base of every error the package raises on purpose. `str(error)` is one sentence for the user, on one line."""

    exit_code = 1

    def __str__(self) -> str:
        return one_line(super().__str__())


class UsageError(EdgeTTSError):
    """A wrong option or argument: an unknown name, a value out of range, a missing file."""

    exit_code = 2


class AudioError(EdgeTTSError):
    """A recording that cannot be used: missing, empty, silent, too short, truncated or not audio."""


class VoiceError(EdgeTTSError):
    """A voice that cannot be used: unknown name, damaged file, or made by a pack with other encoders."""


class PackError(EdgeTTSError):
    """A model pack that cannot be used: missing, torn, altered, of a newer format, or not a pack."""


class CheckpointError(EdgeTTSError):
    """A published checkpoint that cannot be converted: unknown version, missing or misshapen tensors."""


class DownloadError(EdgeTTSError):
    """Published files that cannot be fetched: no network, refused, altered on the way, or no room for them."""


class GenerationError(EdgeTTSError):
    """The model failed on this text and no allowed retry helped."""


class NonFiniteError(GenerationError):
    """A network computed what is no number: its number type is too narrow for these weights."""


class Cancelled(EdgeTTSError):
    """Work that the caller asked to stop before it was done; nothing of it is kept."""
