"""What users see when something is wrong: one sentence that says what failed, the value, what is
allowed, and the next command to try. Everything the package raises on purpose is an `EdgeTTSError`;
the command line prints its message and exits with `exit_code`."""

from __future__ import annotations


class EdgeTTSError(Exception):
    """Base of every error the package raises on purpose. `str(error)` is one sentence for the user."""

    exit_code = 1


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


class Cancelled(EdgeTTSError):
    """Work that the caller asked to stop before it was done; nothing of it is kept."""
