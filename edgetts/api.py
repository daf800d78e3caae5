"""The public API: load a pack, enroll voices, speak.

    tts = TTS.load()                       # a pack folder, or the one this machine has
    audio = tts.say("Hello.", voice="me.wav")
    audio.save("hello.wav")
    for chunk in tts.stream("Hello. This starts before it is finished.", voice="me.wav"):
        play(chunk.samples)

Connects text front end, voices and pipeline; has no model code. Long because the four speaking methods repeat their
arguments for editors and `help()`; all of them call `TTS.start`.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt
import torch

from edgetts.backends.compile_cache import keep_compiled
from edgetts.backends.device import pick_device
from edgetts.backends.kernels import AUTO
from edgetts.backends.numbers import default_compute
from edgetts.backends.process import bound_heaps, check_process, is_forked
from edgetts.compute import Compute, check_compute
from edgetts.errors import UsageError
from edgetts.memory import Budget, Place, parse_size
from edgetts.options import AUTO_LANGUAGE, OptionKeywords, SampleType, SynthesisOptions
from edgetts.pack.entries import EMOTION
from edgetts.pack.load import Pack, open_pack
from edgetts.pack.locate import LocatedPack, locate_pack
from edgetts.pack.mapped_files import find_watch
from edgetts.pack.page_release import give_back_freed
from edgetts.pack.text import frontend_of, tokenizer_of
from edgetts.pipeline import Pipeline
from edgetts.planner import SegmentPlanner, spoken_language
from edgetts.progress import Progress, no_progress
from edgetts.request import WHOLE, SpeechRequest
from edgetts.speech import Audio, SpokenSegment
from edgetts.streaming.chunk import AudioChunk
from edgetts.streaming.engine import Engine
from edgetts.streaming.schedule import Whole
from edgetts.streaming.session import Session
from edgetts.streaming.source import TextFeed, pump, queued_segments
from edgetts.streaming.state import QueuedSegment, StreamState
from edgetts.streaming.stream import AsyncSpeechStream, SpeechStream
from edgetts.text.frontend import TextFrontend
from edgetts.text.glossary import Glossary
from edgetts.text.multilingual.languages import NAMES
from edgetts.text.normalizers import DEFAULT_NORMALIZER, NormalizerName, check_normalizer
from edgetts.text.tokenizer import TextTokenizer
from edgetts.voices.emotion import Emotion
from edgetts.voices.library import VoiceLibrary
from edgetts.voices.names import is_recording
from edgetts.voices.speaker import make_speaker
from edgetts.voices.store import VoiceStore
from edgetts.voices.voice import Voice

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from edgetts.audio.io import Take

_NO_EMOTION = "This model has no emotions: the given one has no effect."
_ENROLLED = (
    "Learning this voice took memory that the budget does not count. The voice is now cached; with `edgetts voices` "
    "you can also make voice files on another machine."
)

__all__ = [
    "TTS",
    "AsyncSpeechStream",
    "Audio",
    "AudioChunk",
    "Emotion",
    "Progress",
    "SpeechRequest",
    "SpeechStream",
    "SpokenSegment",
    "SynthesisOptions",
    "Voice",
]


class TTS:
    """One open pack: enrolls voices and speaks. Constructed by `TTS.load`.

    The run-phase networks are loaded at first use and stay loaded; the encoders are loaded for each enrollment and
    freed after it.
    """

    def __init__(
        self,
        pack: Pack,
        device: torch.device,
        store: VoiceStore,
        *,
        kernel: str = AUTO,
        compute: Compute | None = None,
        memory_budget: int | None = None,
        notices: tuple[str, ...] = (),
    ) -> None:
        if compute is None:
            compute = default_compute(device, pack.manifest.defaults, pack.manifest.quality)
        check_compute(compute)
        SynthesisOptions.of(pack.manifest.defaults, {})  # reports invalid defaults of the pack now
        self.pack = pack
        self.budget = None if memory_budget is None else _budget(memory_budget, pack, device, compute, kernel)
        self.compute = compute
        self.device = device
        self.kernel = kernel
        self.store = store
        self._engine: Engine | None = None
        self.voices = VoiceLibrary(pack, store, device, enrolled_notice=None if memory_budget is None else _ENROLLED)
        self._notices = list(notices)  # for the next call
        self._loading = threading.Lock()  # of the networks, by several threads
        self._reading = threading.Lock()  # of tokenizer and glossary, which are needed before the networks
        self._tokenizer: TextTokenizer | None = None
        self._frontends: dict[NormalizerName, TextFrontend] = {}  # without a caller's glossary

    @classmethod
    def load(
        cls,
        pack: str | Path | LocatedPack | None = None,
        *,
        device: str = "auto",
        home: Path | None = None,
        kernel: str = AUTO,
        compute: Compute | None = None,
        memory_budget: str | int | None = None,
    ) -> TTS:
        """Open a pack folder (None: the user's default pack, else the built-in one).

        device: auto, cpu, cuda or cuda:N. home: folder for voices and caches instead of the user's folders.
        kernel: for quantized weights, a name from `edgetts info --kernels`, or auto.
        compute: exact: float32. fast: 16 bits if the machine has them. reference: float32 without compiled kernels.
        None: the pack's own, else fast on CUDA and, on the CPU, for packs whose report measured it, else exact.
        memory_budget: a bound on the memory of this process for one call at a time, in bytes or such as "1500M" or
        "2G"; `edgetts.memory` describes what is counted. Calls get shorter segments, then a shorter prompt as needed,
        with a notice; UsageError if even those do not fit. On a GPU with its own memory, that memory is bounded.
        Raises PackError, UsageError.
        """
        if not (pack is None or isinstance(pack, (str, Path, LocatedPack))):
            raise UsageError(f"pack is of type {type(pack).__name__}; give a folder, or the name of a pack, or None.")
        bound_heaps()  # now, because the networks may be loaded in a thread
        located = pack if isinstance(pack, LocatedPack) else locate_pack(pack, home)
        n_bytes = parse_size(memory_budget) if isinstance(memory_budget, str) else memory_budget
        opened, store = open_pack(located.path, home=home), VoiceStore.default(home)
        opened.watch = find_watch()
        chosen = pick_device(device)
        notices = (chosen.notice,) if chosen.notice else ()
        return cls(opened, chosen.device, store, kernel=kernel, compute=compute, memory_budget=n_bytes, notices=notices)

    @property
    def sample_rate(self) -> int:
        """Samples per second of the speech."""
        return self.pack.config.audio.sample_rate

    @property
    def is_loaded(self) -> bool:
        """Whether the run-phase networks are loaded."""
        return self._engine is not None

    @property
    def pipeline(self) -> Pipeline:
        """The run-phase networks; loaded on first access."""
        return self._loaded_engine().pipeline

    @property
    def engine(self) -> Engine:
        """Shared by all streams: networks and latency model. Loaded on first access."""
        return self._loaded_engine()

    def _loaded_engine(self) -> Engine:
        check_process()  # before the lock, which another thread may have held at a fork
        with self._loading:
            if self._engine is None:
                keep_compiled(self.store.cache_dir.parent, self.pack.manifest, self.device)
                limit = None if self.budget is None else self.budget.keep(self.device)
                pipeline = Pipeline(self.pack, self.device, kernel=self.kernel, compute=self.compute)
                engine = Engine.open(pipeline, self.store.cache_dir.parent)
                engine.freed.limit = limit
                self._engine = engine
            return self._engine

    def close(self) -> None:
        """Free the networks as soon as all open streams have ended; a later call loads them again."""
        if is_forked():  # the networks are the parent's, and the lock may never be released
            return
        with self._loading:
            self._engine = None
        give_back_freed()

    def __enter__(self) -> TTS:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        loaded = "loaded" if self.is_loaded else "not loaded yet"
        return f"TTS({self.pack.manifest.name!r} at {str(self.pack.path)!r} on {self.device}, {self.compute}, {loaded})"

    def frontend(
        self, glossary: Glossary | None = None, normalizer: NormalizerName = DEFAULT_NORMALIZER
    ) -> TextFrontend:
        """The text front end of this pack.

        glossary: None: the pack's own. normalizer: of numbers, signs and abbreviations, "edgetts" or "upstream".
        Raises UsageError for an unknown normalizer.
        """
        check_normalizer(normalizer)
        with self._reading:
            if self._tokenizer is None:
                self._tokenizer = tokenizer_of(self.pack)
            if glossary is not None:
                return frontend_of(self.pack, glossary, normalizer, self._tokenizer)
            if normalizer not in self._frontends:
                path = self.pack.glossary_path
                own = Glossary.load(path) if path is not None else None
                self._frontends[normalizer] = frontend_of(self.pack, own, normalizer, self._tokenizer)
            return self._frontends[normalizer]

    # --- voices ------------------------------------------------------------------------------------

    def enroll(
        self,
        recording: str | Path | Take | Audio | npt.ArrayLike | tuple[npt.ArrayLike, int],
        *,
        sample_rate: int | None = None,
        name: str = "",
        adapt_steps: int | None = None,
        match_spectrum: bool | None = None,
        as_is: bool = False,
        language: str | None = None,
        progress: Progress | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Voice:
        """Learn a voice from a recording: a WAV, FLAC, OGG or MP3 file, samples (S,) or (S, channels) with their
        `sample_rate`, also as a pair of both, or an Audio.

        Uses the 15 s with the most speech; notices in the voice name them and their defects. as_is: use the first
        15 s, as upstream does. adapt_steps: training steps that adapt S2Mel to the voice (`edgetts.voices.adapt`), 0:
        none. match_spectrum: give the voice's speech the spectrum of the recording (`edgetts.voices.spectrum`). None:
        the pack's default. language: that it speaks where a call gives none, one of this model's; None:
        found for each sentence. tell: is called with a sentence before long work. Raises AudioError, UsageError.
        """
        check_process()
        given: Any = recording
        if isinstance(given, Audio):
            given, sample_rate = given.samples, given.sample_rate
        return self.voices.enroll(
            given,
            sample_rate=sample_rate,
            name=name,
            adapt_steps=adapt_steps,
            match_spectrum=match_spectrum,
            as_is=as_is,
            language=None if language is None else spoken_language(self.frontend(), language),
            progress=progress,
            tell=tell,
        )

    def voice(
        self,
        reference: str | Path | Voice | Take | None = None,
        *,
        adapt_steps: int | None = None,
        match_spectrum: bool | None = None,
        progress: Progress | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Voice:
        """Resolve a reference to a voice: a Voice, a stored name, a voice file or a recording.

        None: the first ready voice of the pack. A recording is enrolled once, with `adapt_steps`, `match_spectrum` and
        `tell` as in `enroll`, and cached by its content. Raises UsageError, VoiceError, AudioError.
        """
        return self.voices.resolve(
            reference, adapt_steps=adapt_steps, match_spectrum=match_spectrum, progress=progress, tell=tell
        )

    def ready_voices(self) -> dict[str, Path]:
        """The pack's own voices, by name."""
        return self.voices.ready()

    # --- speech ------------------------------------------------------------------------------------

    def say(
        self,
        text: str,
        voice: str | Path | Voice | None = None,
        *,
        emotion: Emotion | Mapping[str, float] | str | None = None,
        glossary: Glossary | None = None,
        markup: bool = False,
        markdown: bool | None = None,
        normalizer: NormalizerName = DEFAULT_NORMALIZER,
        progress: Progress | None = None,
        **options: Unpack[OptionKeywords],
    ) -> Audio:
        """Speak `text` and return the whole audio.

        voice: a reference as for `TTS.voice`. emotion: an `Emotion`, or weights such as `{"happy": 0.4}`. markup: read
        `[pause:1.5]` and `<break time="500ms"/>` as pauses and refuse other tags. markdown: remove Markdown markup;
        None: from a text in pieces (`stream`), not from a string. normalizer: of numbers, signs and abbreviations,
        "edgetts" or "upstream" (for parity). options: fields of `SynthesisOptions`. Raises EdgeTTSError.
        """
        if not isinstance(text, str):
            raise UsageError(f"The text is of type {type(text).__name__}; give a string (`stream` takes pieces).")
        request = _request(text, voice, emotion, options, glossary, markup, markdown, normalizer, WHOLE)
        stream = self.start(request, progress=progress)
        report = progress or no_progress
        report("speaking", 0.0)
        parts: list[npt.NDArray[Any]] = []
        with stream:
            for chunk in stream:
                parts.append(chunk.samples)
                if chunk.ends_segment and not chunk.last:
                    report("speaking", chunk.end / len(text))
        report("speaking", 1.0)
        return Audio.of(stream, parts)

    async def asay(
        self,
        text: str,
        voice: str | Path | Voice | None = None,
        *,
        emotion: Emotion | Mapping[str, float] | str | None = None,
        glossary: Glossary | None = None,
        markup: bool = False,
        markdown: bool | None = None,
        normalizer: NormalizerName = DEFAULT_NORMALIZER,
        progress: Progress | None = None,
        **options: Unpack[OptionKeywords],
    ) -> Audio:
        """`say` without blocking the event loop: other threads do the work. Cancelling ends the work.

        The same arguments give the same audio. progress: is called in the event loop's thread.
        """
        if not isinstance(text, str):
            raise UsageError(f"The text is of type {type(text).__name__}; give a string (`astream` takes pieces).")
        report = progress or no_progress
        request = _request(text, voice, emotion, options, glossary, markup, markdown, normalizer, WHOLE)
        parts: list[npt.NDArray[Any]] = []
        chunks = AsyncSpeechStream(partial(self.start, request))
        report("speaking", 0.0)
        async with chunks:
            async for chunk in chunks:
                parts.append(chunk.samples)
                if chunk.ends_segment and not chunk.last:
                    report("speaking", chunk.end / len(text))
            report("speaking", 1.0)
            return await asyncio.to_thread(Audio.of, chunks.stream, parts)

    def stream(
        self,
        text: str | Iterable[str],
        voice: str | Path | Voice | None = None,
        *,
        emotion: Emotion | Mapping[str, float] | str | None = None,
        glossary: Glossary | None = None,
        markup: bool = False,
        markdown: bool | None = None,
        normalizer: NormalizerName = DEFAULT_NORMALIZER,
        progress: Progress | None = None,
        dtype: SampleType = "float32",
        chunks: Iterable[int] | Literal["whole"] | None = None,
        **options: Unpack[OptionKeywords],
    ) -> SpeechStream:
        """Speak `text` as a stream: iterate over the result to get chunks while the rest is synthesized.

        text: a string, or pieces of one that arrive meanwhile, cut anywhere (a language model's tokens, the lines of
        a pipe); each clause is spoken as soon as it is complete. dtype: of the samples, float32 in [-1, 1] or int16.
        chunks: sizes in codes (50 a second), the last one repeating. With them text, voice, options and seed decide the
        sound, and nothing else, however fast or busy the machine is. None: with a seed 30, 60, 120; without one by the
        measured latency of this machine, so that timing decides: the seed that the stream reports may give other
        chunks, and another reading where a guard objects. A text in pieces is also cut by when they arrive. "whole":
        one chunk per segment, with the sound of `say`, for texts whose audio is too long for memory.
        Other arguments as for `say`. Several streams may be open at the same time and run concurrently. Errors of the
        synthesis are raised while iterating.
        """
        if text is None or isinstance(text, (bytes, bytearray)) or not isinstance(text, Iterable):
            raise UsageError(f"The text is of type {type(text).__name__}; give a string, or an iterable of strings.")
        request = _request(text, voice, emotion, options, glossary, markup, markdown, normalizer, chunks, dtype)
        return self.start(request, pieces=None if isinstance(text, str) else text, progress=progress)

    def astream(
        self,
        text: str | Iterable[str] | AsyncIterable[str],
        voice: str | Path | Voice | None = None,
        *,
        emotion: Emotion | Mapping[str, float] | str | None = None,
        glossary: Glossary | None = None,
        markup: bool = False,
        markdown: bool | None = None,
        normalizer: NormalizerName = DEFAULT_NORMALIZER,
        progress: Progress | None = None,
        dtype: SampleType = "float32",
        chunks: Iterable[int] | Literal["whole"] | None = None,
        **options: Unpack[OptionKeywords],
    ) -> AsyncSpeechStream:
        """`stream` for `async for`. Arguments as there; the pieces of the text may also be an async iterable.

        Does not block the event loop. Synthesis starts when the first chunk is requested.
        """
        check_process()
        if isinstance(text, (bytes, bytearray)) or not isinstance(text, (Iterable, AsyncIterable)):
            raise UsageError(f"The text is of type {type(text).__name__}; give a string, or an iterable of strings.")
        request = _request(text, voice, emotion, options, glossary, markup, markdown, normalizer, chunks, dtype)
        if isinstance(text, AsyncIterable):
            return AsyncSpeechStream(partial(self.start, request, progress=progress), text)
        pieces = None if isinstance(text, str) else text
        return AsyncSpeechStream(partial(self.start, request, pieces=pieces, progress=progress))

    def start(
        self,
        request: SpeechRequest,
        on_sound: Callable[[], None] | None = None,
        *,
        pieces: Iterable[str] | None = None,
        progress: Progress | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> SpeechStream:
        """Start a request. All other speaking methods call this one.

        on_sound: is called in another thread when a chunk may be ready. pieces: the text of a request without one; by
        default the caller pushes it into `SpeechStream.feed`. tell: gets a sentence before a recording is learned.
        Raises EdgeTTSError.
        """
        check_process()
        if progress is not None and not callable(progress):
            raise UsageError("progress is not callable; give a function of a stage (str) and its progress (0 to 1).")
        self.pack.check_unchanged()
        options = SynthesisOptions.of(self.pack.manifest.defaults, request.options)
        frontend = self.frontend(request.glossary, request.normalizer)
        schedule = request.schedule()
        has_parts, has_markdown = not isinstance(schedule, Whole), request.markdown is True
        plans = partial(SegmentPlanner, frontend, in_parts=has_parts, markup=request.markup, markdown=has_markdown)
        planner = plans(options)
        whole = None if request.text is None else planner.whole(request.text)  # raises before a voice is learned
        voice = self.voices.resolve(
            request.voice,
            adapt_steps=options.adapt_steps,
            match_spectrum=options.match_spectrum,
            progress=progress,
            tell=tell,
        )
        if voice.language is not None and request.options.get("language") is None:
            options = replace(options, language=spoken_language(frontend, voice.language, voice.name))
            planner = plans(options)
            whole = None if request.text is None else planner.whole(request.text)
        notices, self._notices = self._notices, []
        if is_recording(request.voice):  # those of a stored voice were shown when it was made
            notices += voice.notices
        if request.emotion is not None and EMOTION in self.pack.manifest.without:
            notices.append(_NO_EMOTION)
        if self.budget is not None:
            fitted, notice = self.budget.fit(options, voice.reference_mel.shape[-1], in_parts=has_parts)
            notices += [notice] if notice is not None else []
            if fitted != options:
                options, planner = fitted, plans(fitted)
                whole = None if request.text is None else planner.whole(request.text)
        emotion_voice = None
        if request.emotion is not None and request.emotion.recording is not None:
            emotion_voice = self.voices.resolve(
                request.emotion.recording, adapt_steps=0, match_spectrum=False, progress=progress
            )
        # After enrollment, which loads and frees networks of its own.
        engine = self.engine
        speaker = make_speaker(engine.pipeline.networks, voice, request.emotion, emotion_voice, options.prompt_s)
        seed = secrets.randbits(32) if options.seed is None else options.seed
        state, feed, n_tokens = StreamState(on_sound), None, None
        queue: Iterator[QueuedSegment]
        if whole is not None:
            notices += whole.notices
            if options.language in (None, AUTO_LANGUAGE) and whole.languages:
                *others, last = map(NAMES.__getitem__, whole.languages)
                notices.append(_DETECTED.format(" and ".join((", ".join(others), last) if others else (last,))))
            n_tokens = sum(len(segment.ids) for segment in whole.segments)
            queue = queued_segments(whole, time.perf_counter())
        else:
            feed = TextFeed(
                *(state, planner.part),
                markup=request.markup,
                notices=notices,
                markdown=request.markdown is not False,
                annotations=frontend.reads_annotations,
            )
            queue = iter(feed)
        session = Session(engine, speaker, queue, options, seed, schedule, state, n_tokens=n_tokens)
        stream = SpeechStream(session, notices, request.dtype, feed)
        if feed is not None and pieces is not None:
            pump(pieces, feed)
        return stream


_DETECTED = "The text is spoken as {}: set the language with language= if that is not right."


def _request(text: object, *values: Any) -> SpeechRequest:
    """The arguments of `stream` as a request. One whose text arrives in pieces has none of its own."""
    return SpeechRequest(text if isinstance(text, str) else None, *values)


def _budget(n_bytes: int, pack: Pack, device: torch.device, compute: Compute, kernel: str) -> Budget:
    """The budget of all calls. Raises UsageError if no call fits."""
    if isinstance(n_bytes, bool) or not isinstance(n_bytes, int) or n_bytes <= 0:
        raise UsageError(f"The memory budget is {n_bytes!r}; it must be a number of bytes above 0, or such as '2G'.")
    return Budget.of(n_bytes, pack, compute, Place.of(device, compute, kernel))
