"""Resolves a reference to a voice: a name, a voice file, a recording, or None.

In: the caller's reference. Out: a `Voice`, learned if the recording is new. Joins the ready voices of a pack, the
user's stored voices and learning.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetts.errors import UsageError
from edgetts.options import SynthesisOptions
from edgetts.pack.entries import SPEECH_LEVEL_FILE, VOICE_SUFFIX
from edgetts.pack.page_release import give_back_freed
from edgetts.progress import Progress, no_progress
from edgetts.voices.names import looks_like_path
from edgetts.voices.store import VoiceStore
from edgetts.voices.voice import Voice

if TYPE_CHECKING:
    import torch

    from edgetts.audio.io import Take
    from edgetts.pack.load import Pack

Tell = Callable[[str], None]  # gets a sentence before a long operation


class VoiceLibrary:
    """The voices of one pack on one machine.

    enrolled_notice: added to the notices of a voice that was just learned.
    """

    def __init__(
        self, pack: Pack, store: VoiceStore, device: torch.device, *, enrolled_notice: str | None = None
    ) -> None:
        self._pack = pack
        self._store = store
        self._device = device
        self._enrolled_notice = enrolled_notice
        self._learning = threading.Lock()

    def resolve(
        self,
        reference: str | Path | Voice | Take | None = None,
        *,
        adapt_steps: int | None = None,
        match_spectrum: bool | None = None,
        progress: Progress | None = None,
        tell: Tell | None = None,
    ) -> Voice:
        """The voice that `reference` names; None: the first ready voice of the pack.

        A recording is enrolled once and cached by its content. Raises UsageError, VoiceError, AudioError.
        """
        if isinstance(reference, Voice):
            return reference
        if reference is None:
            return self._default()
        if isinstance(reference, str) and not looks_like_path(reference):
            ready = self._pack.manifest.ready_voices()
            if reference in ready and not self._store.has(reference):
                return Voice.load(self._pack.file(ready[reference]))
            return self._store.load(reference, others=ready)
        if isinstance(reference, (str, Path)):
            reference = Path(reference).expanduser()
            if reference.suffix == VOICE_SUFFIX:
                return Voice.load(reference)
        from edgetts.voices.learning import take_of  # imports the audio decoders, which few calls need

        take = take_of(reference)
        name = reference.stem if isinstance(reference, Path) else take.name
        return self._remembered(take, name, self._options(adapt_steps, match_spectrum), progress, tell)

    def enroll(
        self,
        recording: Any,
        *,
        sample_rate: int | None = None,
        name: str = "",
        adapt_steps: int | None = None,
        match_spectrum: bool | None = None,
        as_is: bool = False,
        language: str | None = None,
        progress: Progress | None = None,
        tell: Tell | None = None,
    ) -> Voice:
        """Learn a voice, whether or not it is cached. Arguments and errors as of `TTS.enroll`."""
        from edgetts.voices.learning import take_of

        take = take_of(recording, sample_rate, as_is=as_is)
        stem = Path(recording).stem if isinstance(recording, (str, Path)) else ""
        voice = self._learn(take, name or stem, self._options(adapt_steps, match_spectrum), progress, tell)
        return replace(voice, language=language)

    def ready(self) -> dict[str, Path]:
        """Voices that came with the pack, by name."""
        return {name: self._pack.file(file) for name, file in self._pack.manifest.ready_voices().items()}

    def _learn(
        self, take: Take, name: str, options: SynthesisOptions, progress: Progress | None, tell: Tell | None
    ) -> Voice:
        from edgetts.voices.learning import learn

        report = progress or no_progress
        return learn(self._pack, take, options, device=self._device, name=name, progress=report, tell=tell)

    def _options(self, adapt_steps: int | None, match_spectrum: bool | None) -> SynthesisOptions:
        given = {"adapt_steps": adapt_steps, "match_spectrum": match_spectrum}
        chosen = {name: value for name, value in given.items() if value is not None}
        return SynthesisOptions.of(self._pack.manifest.defaults, chosen)

    def _default(self) -> Voice:
        ready = self._pack.manifest.ready_voices()
        if not ready:
            known = ", ".join(self._store.names())
            raise UsageError(
                "This pack has no voice of its own: give a recording, a voice file or a name with voice="
                + (f" ({known})." if known else ".")
            )
        return Voice.load(self._pack.file(next(iter(ready.values()))))

    def _remembered(
        self, take: Take, name: str, options: SynthesisOptions, progress: Progress | None, tell: Tell | None
    ) -> Voice:
        """The voice of a recording, from the cache or newly learned."""
        manifest, notices = self._pack.manifest, list[str]()
        steps, matched = options.adapt_steps, options.match_spectrum
        adapted_to = manifest.s2mel_id if steps or matched else ""
        with self._learning:  # two threads with the same recording: the second finds it cached
            known = self._store.cached(
                take.content_hash,
                manifest.encoder_id,
                adapted_to,
                steps,
                matched=matched,
                notices=notices,
                model=manifest.model,
            )
            # One of before the pack had a level of speech is learned again.
            if known is not None and (known.level_db is not None or SPEECH_LEVEL_FILE not in manifest.files):
                return replace(known, notices=take.notices)
            voice = self._learn(take, name, options, progress, tell)
            problem = self._store.remember(take.content_hash, voice)
        notices += [] if problem is None else [problem]
        give_back_freed()
        if self._enrolled_notice is not None:
            notices.append(self._enrolled_notice)
        return replace(voice, notices=(*voice.notices, *notices)) if notices else voice
