"""The steps of `edgetts setup`, each of which can be repeated: what is there already is left as it is.

In: a `SetupPlan`, the voice and the place of the sound. Out: a `Done` for each step, with its sentence. Everything
appears whole: files by `quant.download`, packs by `quant.staging`, voices by the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetts.cli.common import ProgressBar, importing, mib, print_notice
from edgetts.cli.download import ByteProgressBar
from edgetts.cli.environment import Environment
from edgetts.cli.pack_options import shares
from edgetts.cli.packs import reference_of
from edgetts.cli.setup.plan import SetupPlan
from edgetts.errors import AudioError, UsageError, VoiceError
from edgetts.pack.default_pack import read_default, write_default
from edgetts.pack.entries import VOICE_SUFFIX
from edgetts.pack.locate import cache_folder, data_folder

if TYPE_CHECKING:
    from edgetts.api import TTS

SENTENCE = "Hello. I speak from this machine now."
DEMO_VOICE = "demo"  # learned from a sentence of the built-in model where no recording is given
_WARM_TEXT, _MAX_TOKENS = "Good morning.", 120
DONE, THERE, SKIPPED = "done", "was there", "skipped"


@dataclass(frozen=True)
class Done:
    """A finished step. state: DONE, THERE or SKIPPED."""

    name: str
    state: str
    text: str
    seconds: float

    @property
    def line(self) -> str:
        took = f" ({self.seconds:.0f} s)" if self.state == DONE and self.seconds >= 1 else ""
        return f"{self.name:<10}{self.text}{took}"


@dataclass
class Steps:
    """plan: with the download, if there is something to get. voice: a recording or a voice file; None: the voice called
    `voice_name` if there is one, else one of the pack's, else a voice learned from the built-in model. output: file for
    the sentence; None: a loudspeaker, or a file where there is none."""

    known: Environment
    plan: SetupPlan
    hub_caches: Sequence[Path]
    voice: Path | None
    voice_name: str | None
    sentence: str
    output: Path | None
    quiet: bool
    speaker: str | None = None  # name of the voice, once there is one
    _tts: TTS | None = None
    _spoken_with: Any = None

    def all(self, told: Callable[[Done], None]) -> list[Done]:
        """Every step in order; `told` hears of each as it ends."""
        found: list[Done] = []
        for name, step in (
            ("download", self._download),
            ("quantize", self._quantize),
            ("default", self._default),
            ("warm up", self._warm_up),
            ("voice", self._learn),
            ("speak", self._speak),
        ):
            started = time.monotonic()
            state, text = step()
            found.append(Done(name, state, text, time.monotonic() - started))
            told(found[-1])
        return found

    def _download(self) -> tuple[str, str]:
        if self.plan.is_made:
            return SKIPPED, "not needed, the pack is there"
        if self.plan.download is None:
            return THERE, f"complete in {self.plan.checkpoint}"
        from edgetts.quant.download import download

        with ByteProgressBar(enabled=not self.quiet, lines=not self.quiet) as progress:
            done = download(self.plan.download, progress=progress)
        return DONE if done.fetched else THERE, f"{mib(done.n_bytes)} in {done.folder}, checked"

    def _quantize(self) -> tuple[str, str]:
        pack = self.plan.pack
        if self.plan.is_made:
            return THERE, f"{pack} (recipe {self.plan.recipe.name})"
        from edgetts.quant.quantize import quantize

        with ProgressBar(enabled=not self.quiet) as progress:
            made = quantize(
                self.plan.checkpoint,
                pack,
                self.plan.recipe_given,
                measure=self.plan.measures,
                hub_caches=self.hub_caches,
                home=self.known.home,
                progress=shares(progress),
            )
        if made.notice and not self.quiet:
            print_notice(made.notice)
        return DONE, f"{mib(made.n_bytes)} in {pack} (recipe {made.recipe})"

    def _default(self) -> tuple[str, str]:
        folder, pack = data_folder(self.known.home), self.plan.pack
        reference = reference_of(pack, self.known.home)
        if read_default(folder) == reference:
            return THERE, f"{pack.name} speaks where no other pack is named"
        write_default(folder, reference)
        before = f"; EDGETTS_PACK is set to {self.known.pack} and comes before that" if self.known.pack else ""
        return DONE, f"{pack.name} speaks where no other pack is named{before}"

    def _warm_up(self) -> tuple[str, str]:
        with importing():
            from edgetts.api import TTS
            from edgetts.bench.warm import warm
        with ProgressBar(enabled=not self.quiet) as progress:
            progress("loading the pack", 0.1)
            known = self.known
            device, kernel = known.device or "auto", known.kernel or "auto"
            tts = self._tts = TTS.load(self.plan.pack, device=device, home=known.home, kernel=kernel)
            ids = tts.frontend().segments(_WARM_TEXT, _MAX_TOKENS).segments[0].ids
            engine = tts.engine
            progress("running every stage", 0.4)
            warmed = warm(engine, ids)
        first, second = f"{warmed.cold_s:.1f} s the first time", f"{warmed.warm_s:.1f} s the second"
        return DONE, f"every stage ran on {tts.device} in {first}, {second}"

    def _learn(self) -> tuple[str, str]:
        from edgetts.voices.voice import Voice

        assert self._tts is not None
        tts, store = self._tts, self._tts.store
        name = self.voice_name
        if name is not None and store.has(name):
            self._spoken_with, self.speaker = self._fitting(name), name
            return THERE, f"{name}: `edgetts say TEXT --voice {name}`"
        if self.voice is not None:
            assert name is not None
            voice = Voice.load(self.voice) if self.voice.suffix == VOICE_SUFFIX else self._enrolled(self.voice, name)
            self._spoken_with = self._checked(voice, name)
            store.add(name, voice)
            self.speaker = name
            return DONE, f"{name}, from {self.voice}: `edgetts say TEXT --voice {name}`"
        ready = next(iter(tts.ready_voices()), None)
        if ready is not None:
            self._spoken_with = self.speaker = ready
            return THERE, f"{ready}, of the pack"
        return self._demo_voice()

    def _demo_voice(self) -> tuple[str, str]:
        from edgetts.quant.calibrate import own_recording
        from edgetts.quant.components import enrollment_notice

        assert self._tts is not None
        problem = enrollment_notice(self._tts.pack.config)
        if problem is not None:
            return SKIPPED, problem
        name = self._free_name(DEMO_VOICE)
        if name is None:
            return THERE, f"{self.speaker}: `edgetts say TEXT --voice {self.speaker}`"
        with ProgressBar(enabled=not self.quiet) as progress:
            progress("recording the built-in model", 0.0)
            recording = own_recording(self.known.home)
            voice = self._tts.enroll(recording[0], sample_rate=recording[1], name=name, progress=progress)
        self._tts.store.add(name, voice)
        self._spoken_with, self.speaker = voice, name
        return DONE, f"{name}, from a sentence of the built-in model: `edgetts voices add NAME RECORDING` learns yours"

    def _free_name(self, base: str) -> str | None:
        """A name that is not taken; None if a voice of these names fits the pack, which is then used."""
        assert self._tts is not None
        for number in range(1, 100):
            name = base if number == 1 else f"{base}-{number}"
            if not self._tts.store.has(name):
                return name
            try:
                self._spoken_with, self.speaker = self._fitting(name), name
            except UsageError:
                continue
            return None
        raise UsageError(f"All names from {base} on are taken: give --voice RECORDING and --voice-name.")

    def _enrolled(self, recording: Path, name: str) -> Any:
        assert self._tts is not None
        with ProgressBar(enabled=not self.quiet) as progress:
            tell = None if self.quiet else print_notice
            voice = self._tts.enroll(recording, name=name, progress=progress, tell=tell)
        for notice in () if self.quiet else voice.notices:
            print_notice(notice)
        return voice

    def _fitting(self, name: str) -> Any:
        assert self._tts is not None
        return self._checked(self._tts.voice(name), name)

    def _checked(self, voice: Any, name: str) -> Any:
        """The voice. Raises UsageError if another kind of pack made it."""
        assert self._tts is not None
        manifest = self._tts.pack.manifest
        try:
            voice.check(manifest.encoder_id, manifest.family)
        except VoiceError:
            raise UsageError(
                f"The voice {name} belongs to another model than {manifest.name}: give its recording with --voice, and "
                "another --voice-name."
            ) from None
        return voice

    def _speak(self) -> tuple[str, str]:
        assert self._tts is not None
        if self._spoken_with is None:
            return SKIPPED, "there is no voice yet: `edgetts voices add NAME RECORDING`"
        with ProgressBar(enabled=not self.quiet) as progress:
            audio = self._tts.say(self.sentence, self._spoken_with, progress=progress)
        if self.output is None:
            try:
                audio.play()
                return DONE, f"{audio.seconds:.1f} s through the loudspeaker"
            except (AudioError, UsageError) as problem:  # no device, or no extra for one
                reason = f"; {str(problem).partition(':')[0].rstrip('.')}"
        else:
            reason = ""
        target = self.output if self.output is not None else cache_folder(self.known.home) / "setup.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        audio.save(target)
        return DONE, f"{audio.seconds:.1f} s in {target}{reason}"
