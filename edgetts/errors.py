"""The errors of the package, and escaping of text for terminals.

An error that the package raises on purpose is an `EdgeTTSError`. Its message is one sentence: what failed, the value,
what is allowed, the next command. The command line prints it and exits with `exit_code`. Messages may quote files and
names, so control characters are escaped here."""

from __future__ import annotations

_JOINERS = frozenset("\u200c\u200d")  # invisible, but used by scripts and emoji


def printable(text: str) -> str:
    """Text that is safe to print on a terminal.

    Control characters, line ends, direction marks and lone surrogates are escaped, such as \\x1b and \\u202e.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else _escaped(c) for c in text)


def one_line(text: str) -> str:
    """Any text, such as a file name, as one printable line."""
    return printable(" ".join(text.split()))


def _escaped(character: str) -> str:
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
    """A model pack that cannot be used: missing, incomplete, altered, of a newer format, or not a pack."""


class CheckpointError(EdgeTTSError):
    """A published checkpoint that cannot be converted: unknown version, missing or misshapen tensors."""


class DownloadError(EdgeTTSError):
    """Published files that cannot be fetched: no network, access refused, wrong checksum, or no disk space."""


class GenerationError(EdgeTTSError):
    """Speech could not be made: words are missing in every attempt, results are not numbers, or memory ran out."""


class NonFiniteError(GenerationError):
    """A network computed NaN or infinity: its dtype is too narrow for these weights."""


class Cancelled(EdgeTTSError):
    """Work that the caller cancelled. No results are kept."""
