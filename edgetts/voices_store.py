"""The user's voices: those with a name, and those remembered by the content of a recording.

In: names, recordings' content hashes, `Voice` objects. Out: the same, from files in two folders: `voices/`
(named, kept until removed) and a cache of the last recordings used (made again when lost). Does not enrol
and does not know what is in a voice. Names are checked so that none can leave the folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import os
import re
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgetts.errors import UsageError, VoiceError
from edgetts.pack.locate import cache_folder, data_folder
from edgetts.pack.manifest import VOICE_SUFFIX
from edgetts.voice import Voice

# Letters and digits of any script, single spaces, hyphens and underscores inside: valid on every file
# system, never a path, never an option, and never confused with a file (no dot).
_NAME = re.compile(r"\w(?:[\w-]| (?! ))*(?<! )")
MAX_NAME_LENGTH = 48  # characters: at most 192 bytes of UTF-8, and file names hold 255
# Windows keeps these for devices; a home folder may be shared with it.
_RESERVED = frozenset(("con", "prn", "aux", "nul", *(d + n for d in ("com", "lpt") for n in "123456789")))
MAX_CACHED = 200  # voices; a few hundred KB each
_TORN_SECONDS = 3600.0  # a temporary file this old was left by a process that was killed


@dataclass(frozen=True)
class StoredVoice:
    """A named voice in the store."""

    name: str
    path: Path
    n_bytes: int


class VoiceStore:
    """Named voices in `voices_dir`, remembered recordings in `cache_dir`; folders appear when needed."""

    def __init__(self, voices_dir: Path, cache_dir: Path) -> None:
        self.voices_dir = voices_dir
        self.cache_dir = cache_dir

    @classmethod
    def default(cls, home: Path | None = None) -> VoiceStore:
        """The store under `home`, or under the user's own data and cache folders."""
        return cls(data_folder(home) / "voices", cache_folder(home) / "voices")

    # --- named voices ------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """Where the voice called `name` is or would be. Raises UsageError for a name that is not allowed."""
        return self.voices_dir / (check_name(name) + VOICE_SUFFIX)

    def names(self) -> list[str]:
        """All named voices, in alphabetical order."""
        return [v.name for v in self.entries()]

    def entries(self) -> list[StoredVoice]:
        """All named voices, in alphabetical order. Files that are no voices by their name are passed over."""
        try:
            files = sorted(self.voices_dir.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise VoiceError(f"Cannot list the voices in {self.voices_dir}: {_reason(error)}.") from error
        found = []
        for file in files:
            if file.suffix == VOICE_SUFFIX and _is_name(file.stem):
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    found.append(StoredVoice(file.stem, file, file.stat().st_size))
        return found

    def has(self, name: str) -> bool:
        """Whether there is a voice of this name. Raises UsageError for a name that is not allowed."""
        return self.path(name).is_file()

    def load(self, name: str, others: Iterable[str] = ()) -> Voice:
        """The voice called `name`. Raises VoiceError when there is none, naming what there is, and `others`."""
        return Voice.load(self.existing(name, others))

    def check_new(self, name: str, *, replace: bool = False) -> None:
        """Raise UsageError unless a voice can be added under `name`: before time is spent on enrolment."""
        if self.has(name) and not replace:
            raise UsageError(
                f"There is already a voice called {name!r}; choose another name, or replace it with replace=."
            )

    def add(self, name: str, voice: Voice, *, replace: bool = False) -> Path:
        """Keep `voice` as `name`. Raises UsageError when the name is taken and `replace` is not set."""
        self.check_new(name, replace=replace)
        return dataclasses.replace(voice, name=check_name(name)).save(self.path(name))

    def remove(self, name: str) -> None:
        """Delete the voice called `name`. Raises VoiceError when there is none."""
        path = self.existing(name)
        try:
            path.unlink()
        except OSError as error:
            raise VoiceError(f"Cannot remove the voice {name!r} ({path}): {_reason(error)}.") from error

    def existing(self, name: str, others: Iterable[str] = ()) -> Path:
        """Path of the voice `name`. Raises VoiceError when there is none; it names what there is, and `others`."""
        path = self.path(name)
        if path.is_file():
            return path
        names = sorted({*self.names(), *others})
        close = difflib.get_close_matches(name, names, n=1)
        if close:
            hint = f"did you mean {close[0]!r}?"
        elif names:
            hint = f"there are {', '.join(names)}."
        else:
            hint = "there are none yet; make one with `edgetts voices add NAME RECORDING`."
        raise VoiceError(f"There is no voice called {name!r}: {hint}")

    # --- remembered recordings ---------------------------------------------------------------------

    def cached(self, content_hash: str, encoder_id: str, adapted_to: str = "", adapt_steps: int = 0) -> Voice | None:
        """The voice that these encoders made of the recording with this hash, if it is remembered.

        adapted_to, adapt_steps: how it was adapted, as the voice says it.

        A damaged file is dropped, as if it had not been there: the recording is at hand to make it again.
        """
        path = self._cache_path(content_hash, encoder_id, adapted_to, adapt_steps)
        if not path.is_file():
            return None
        try:
            voice = Voice.load(path)
            voice.check(encoder_id)
        except VoiceError:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the least recently used are dropped first
        return voice

    def remember(self, content_hash: str, voice: Voice) -> str | None:
        """Keep `voice` for the next use of the same recording and drop the oldest beyond MAX_CACHED.

        Returns a sentence for the user when it could not be kept (a full or read-only disk); the voice
        itself is usable all the same.
        """
        try:
            voice.save(self._cache_path(content_hash, voice.encoder_id, voice.adapted_to, voice.adapt_steps))
        except VoiceError as error:
            return f"The voice is not remembered for the next time: {error}"
        self._forget_oldest()
        return None

    def _cache_path(self, content_hash: str, encoder_id: str, adapted_to: str, adapt_steps: int) -> Path:
        adaptation = f"\n{adapted_to}\n{adapt_steps}" if adapt_steps else ""
        key = hashlib.sha256(f"{content_hash}\n{encoder_id}{adaptation}".encode()).hexdigest()
        return self.cache_dir / (key + VOICE_SUFFIX)

    def _forget_oldest(self) -> None:
        with contextlib.suppress(OSError):  # another process may be doing the same
            files = sorted(self.cache_dir.glob(f"*{VOICE_SUFFIX}"), key=lambda f: f.stat().st_mtime)
            for file in files[:-MAX_CACHED]:
                file.unlink(missing_ok=True)
            for torn in self.cache_dir.glob(".*.part"):
                if time.time() - torn.stat().st_mtime > _TORN_SECONDS:
                    torn.unlink(missing_ok=True)


def check_name(name: str) -> str:
    """The name in its stored spelling (NFC). Raises UsageError when it cannot be a voice's name."""
    normal = unicodedata.normalize("NFC", name)
    if not _is_name(normal):
        raise UsageError(
            f"{name[:60]!r} cannot be the name of a voice: use 1 to {MAX_NAME_LENGTH} letters, digits, "
            "hyphens, underscores and single spaces, such as `my-voice`."
        )
    return normal


def looks_like_path(reference: str) -> bool:
    """Whether what the user gave for a voice means a file and not a name: it has a dot or a separator."""
    return "." in reference or "/" in reference or os.sep in reference or reference.startswith("~")


def _is_name(name: str) -> bool:
    if not 0 < len(name) <= MAX_NAME_LENGTH or name.casefold() in _RESERVED:
        return False
    return _NAME.fullmatch(name) is not None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
