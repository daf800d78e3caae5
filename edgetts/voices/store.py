"""The user's stored voices: named ones, and a cache keyed by the content of recordings.

In: names, recordings' content hashes, `Voice` objects. Out: the same, from files in two folders: `voices/`
(named, kept until removed) and a cache of recently used recordings (made again if lost). Does not enroll and does not
know the content of a voice. Names are checked so that no path can leave the folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgetts.errors import UsageError, VoiceError
from edgetts.families import UNNAMED_FAMILY
from edgetts.pack.config import ModelConfig
from edgetts.pack.entries import VOICE_SUFFIX
from edgetts.pack.locate import cache_folder
from edgetts.voices.description import METADATA_KEY
from edgetts.voices.names import check_name, is_name, voices_folder
from edgetts.voices.voice import Voice

MAX_CACHED = 200  # voices; a few hundred KB each
_CACHE_NAME = re.compile(r"[0-9a-f]{64}")
_TORN_NAME = re.compile(rf"\.[0-9a-f]{{64}}{re.escape(VOICE_SUFFIX)}\.\w+\.part")  # as Voice.save makes it
_HEADER_LENGTH_BYTES = 8  # a safetensors file begins with the length of its header
_MAX_HEADER_BYTES = 1 << 20  # far above that of a voice
_TORN_SECONDS = 3600.0  # a temporary file older than this was left by a killed process


@dataclass(frozen=True)
class StoredVoice:
    """A named voice in the store."""

    name: str
    path: Path
    n_bytes: int
    problem: str = ""  # why it cannot be used, a sentence for the user; empty: usable


class VoiceStore:
    """Named voices in `voices_dir`, cached voices in `cache_dir`; folders are created when needed."""

    def __init__(self, voices_dir: Path, cache_dir: Path) -> None:
        self.voices_dir = voices_dir
        self.cache_dir = cache_dir

    @classmethod
    def default(cls, home: Path | None = None) -> VoiceStore:
        """The store under `home`, or under the user's own data and cache folders."""
        return cls(voices_folder(home), cache_folder(home) / "voices")

    # --- named voices ------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """Path of the voice `name`, whether it exists or not. Raises UsageError for an invalid name."""
        return self.voices_dir / (check_name(name) + VOICE_SUFFIX)

    def names(self) -> list[str]:
        """All usable named voices, in alphabetical order."""
        return [v.name for v in self.entries() if not v.problem]

    def entries(self) -> list[StoredVoice]:
        """All entries with a voice's file name, in alphabetical order, unusable ones included (see `problem`)."""
        try:
            files = sorted(self.voices_dir.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise VoiceError(f"Cannot list the voices in {self.voices_dir}: {_reason(error)}.") from error
        found = []
        for file in files:
            if file.suffix == VOICE_SUFFIX and is_name(file.stem):
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    found.append(_entry(file))
        return found

    def has(self, name: str) -> bool:
        """Whether there is a usable voice `name`. Raises UsageError for an invalid name."""
        try:
            return not _entry(self.path(name)).problem
        except OSError:
            return False

    def load(self, name: str, others: Iterable[str] = ()) -> Voice:
        """The voice `name`. If there is none, raises a VoiceError that lists the stored voices and `others`."""
        return Voice.load(self.existing(name, others))

    def check_new(self, name: str, *, replace: bool = False) -> None:
        """Raise UsageError unless a voice can be added as `name`; checked before enrollment."""
        path = self.path(name)
        if os.path.lexists(path):  # a broken link takes the name, too
            if not replace:
                raise _taken(name)
            if not path.is_symlink() and path.is_dir():
                raise UsageError(f"{path} is a folder in the place of the voice {name!r}: move it away.")
            if not path.is_symlink() and not is_voice_file(path):
                raise UsageError(
                    f"{path} is not a voice file that was made here, so it is left alone: move it away, or choose "
                    "another name."
                )
            return
        for entry in self.entries():
            if entry.name.casefold() == name.casefold():
                raise UsageError(
                    f"There is already a voice called {entry.name!r}, which differs from {name!r} in capitals only: "
                    "choose another name."
                )

    def add(self, name: str, voice: Voice, *, replace: bool = False) -> Path:
        """Store `voice` as `name`. Raises UsageError if the name is taken and `replace` is not set, also if another
        program took it meanwhile."""
        self.check_new(name, replace=replace)
        try:
            return dataclasses.replace(voice, name=check_name(name)).save(self.path(name), replace=replace)
        except FileExistsError:
            raise _taken(name) from None

    def remove(self, name: str) -> None:
        """Delete the voice `name`; of a link, only the link.

        Raises VoiceError if there is none or if it is not a voice file.
        """
        path = self.removable(name)
        try:
            path.unlink()
        except OSError as error:
            raise VoiceError(f"Cannot remove the voice {name!r} ({path}): {_reason(error)}.") from error

    def removable(self, name: str) -> Path:
        """Path of the file or link that `remove` would delete. Raises VoiceError as `remove` does."""
        path = self.path(name)
        if not os.path.lexists(path):
            return self.existing(name)
        if not path.is_symlink() and not is_voice_file(path):
            raise VoiceError(f"{path} is not a voice file that was made here; if it is not needed, delete it yourself.")
        return path

    def existing(self, name: str, others: Iterable[str] = ()) -> Path:
        """Path of the voice `name`. If there is none, raises a VoiceError that lists the stored voices and `others`."""
        path = self.path(name)
        try:
            entry = _entry(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise VoiceError(f"Cannot read the voice {name!r} ({path}): {_reason(error)}.") from error
        else:
            if entry.problem:
                raise VoiceError(entry.problem)
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

    def cached(
        self,
        content_hash: str,
        encoder_id: str,
        adapted_to: str = "",
        adapt_steps: int = 0,
        *,
        matched: bool = False,
        notices: list[str] | None = None,
        model: ModelConfig | None = None,
    ) -> Voice | None:
        """The cached voice that these encoders made of the recording with this hash, or None.

        adapted_to, adapt_steps: must equal the voice's own. matched: whether its spectrum must be. A damaged file, or
        one that does not fit `model`, is deleted with a line in `notices`, because the recording is there to make it
        again.
        """
        path = self._cache_path(content_hash, encoder_id, adapted_to, adapt_steps, matched)
        if not os.path.lexists(path):
            return None
        try:
            voice = Voice.load(path)
            voice.check(encoder_id, model.family if model is not None else UNNAMED_FAMILY)
            if model is not None:
                voice.check_fits(model)
        except VoiceError:
            with contextlib.suppress(OSError):
                path.unlink()
            if notices is not None:
                notices.append("The cached voice of this recording was damaged: the voice is learned again.")
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # least recently used voices are deleted first
        return voice

    def remember(self, content_hash: str, voice: Voice) -> str | None:
        """Cache `voice` for the next use of the same recording and delete the oldest beyond MAX_CACHED.

        Returns a sentence for the user if it could not be cached (a full or read-only disk); the voice is usable all
        the same.
        """
        try:
            matched = voice.mel_map is not None
            path = self._cache_path(content_hash, voice.encoder_id, voice.adapted_to, voice.adapt_steps, matched)
            voice.save(path)
        except VoiceError as error:
            return f"The voice could not be cached for the next time: {error}"
        self._forget_oldest()
        return None

    def _cache_path(self, content_hash: str, encoder_id: str, adapted_to: str, adapt_steps: int, matched: bool) -> Path:
        adaptation = f"\n{adapted_to}\n{adapt_steps}" if adapt_steps or matched else ""
        adaptation += "\nspectrum" if matched else ""
        key = hashlib.sha256(f"{content_hash}\n{encoder_id}{adaptation}".encode()).hexdigest()
        return self.cache_dir / (key + VOICE_SUFFIX)

    def _forget_oldest(self) -> None:
        with contextlib.suppress(OSError):  # another process may be doing the same
            files = [f for f in self.cache_dir.glob(f"*{VOICE_SUFFIX}") if _CACHE_NAME.fullmatch(f.stem)]
            files.sort(key=lambda f: f.lstat().st_mtime)
            for file in files[: max(0, len(files) - MAX_CACHED)]:
                file.unlink(missing_ok=True)
            for torn in self.cache_dir.glob(f".*{VOICE_SUFFIX}.*.part"):
                if _TORN_NAME.fullmatch(torn.name) and time.time() - torn.lstat().st_mtime > _TORN_SECONDS:
                    torn.unlink(missing_ok=True)


def _entry(path: Path) -> StoredVoice:
    """The entry at `path`. Raises FileNotFoundError if there is none."""
    name, found = path.stem, path.lstat()
    is_link = stat.S_ISLNK(found.st_mode)
    if is_link:
        try:
            found = path.stat()
        except OSError as error:
            problem = f"The voice {name!r} is a broken link ({path}: {_reason(error)})"
            return StoredVoice(name, path, 0, f"{problem}; `edgetts voices remove {name}` deletes the link.")
    if not stat.S_ISREG(found.st_mode):
        return StoredVoice(name, path, 0, f"{path} is in the place of a voice but not a file: move it away.")
    if not os.access(path, os.R_OK):
        problem = f"The voice {name!r} is not readable by this user ({path}); allow it, for example with `chmod u+r`."
        return StoredVoice(name, path, found.st_size, problem)
    return StoredVoice(name, path, found.st_size)


def is_voice_file(path: Path) -> bool:
    """Whether the file starts like a voice file. Raises VoiceError if it cannot be read."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            return f'"{METADATA_KEY}"'.encode() in file.read(_HEADER_LENGTH_BYTES + _MAX_HEADER_BYTES)
    except OSError as error:
        raise VoiceError(f"Cannot read the voice {path.stem!r} ({path}): {_reason(error)}.") from error


def _taken(name: str) -> UsageError:
    return UsageError(f"There is already a voice called {name!r}; choose another name, or replace it with replace=.")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
