"""The stages of the run phase: token ids and a speaker to codes, features, mel and waveform.

Holds GPT, S2Mel, vocoder, codebook and emotion matrices, but no encoder. Each stage is a method, which streaming calls
chunk by chunk; `speak` runs all of them on one segment. Does not know text, files, schedules or playback.

Shapes: B is 1; T codes or features, F mel frames, C channels, M mel bands, S samples.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from edgetts.attempt import GuardedCodes
from edgetts.backends.kernels import AUTO
from edgetts.backends.lanes import paced
from edgetts.backends.networks import Networks
from edgetts.backends.numbers import default_compute
from edgetts.backends.prepare import adapted
from edgetts.backends.process import check_process, prepare_process
from edgetts.backends.runners import RunnerName, check_runner
from edgetts.compute import Compute, check_compute
from edgetts.decoding.attempts import Attempts, SegmentSpeech, words_missing
from edgetts.decoding.features import FeaturePass
from edgetts.decoding.flow import solve_flow
from edgetts.decoding.guards import Expected
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.settings import FlowSettings
from edgetts.decoding.spoken import CodeSounds
from edgetts.errors import Cancelled
from edgetts.families import family_of
from edgetts.models.vocoder import frames_of, reach, render
from edgetts.options import SynthesisOptions
from edgetts.voices.speaker import Speaker
from edgetts.voices.spectrum import mapped

if TYPE_CHECKING:
    from edgetts.backends.device_decoder import DeviceDecoders
    from edgetts.backends.fused_step import FusedStep
    from edgetts.models.gpt import GPT
    from edgetts.models.s2mel import S2Mel
    from edgetts.pack.load import Pack

ShouldStop = Callable[[], bool]

# Frames that the vocoder computes at once (3 s); bounds its memory and the delay of a cancel.
VOCODER_WINDOW = 256


class Pipeline:
    """The run-phase networks of one pack on one device."""

    def __init__(
        self,
        pack: Pack,
        device: torch.device,
        *,
        kernel: str = AUTO,
        compute: Compute | None = None,
        runner: RunnerName = "auto",
    ) -> None:
        """kernel: for the GPT's quantized weights, one of `backends.kernels` or auto.

        compute: number types and forms, `backends.numbers` and `backends.prepare`, and which of the kernels may be
        chosen; None: by pack and device.
        runner: what runs the steps of decoding, one of `backends.runners`.
        Raises UsageError for an unknown name, and in a fork of a process that has loaded networks.
        """
        if compute is None:
            compute = default_compute(device, pack.manifest.defaults, pack.manifest.quality)
        check_compute(compute)
        check_runner(runner, device)
        prepare_process()
        self.compute = compute
        self.kernel = kernel
        self.pack = pack
        self.config = pack.config
        self.device = device
        self.networks = Networks(pack, device, kernel, compute, runner)
        self.prepared = self.networks.prepared
        self.quantizer = self.networks.quantizer
        self.code_sounds = CodeSounds.of_pack(pack)

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the user about the computation on this machine."""
        return self.networks.notices

    def modules(self) -> dict[str, torch.nn.Module]:
        """The resident networks by component name."""
        return self.networks.modules()

    # Not cached: a network may be reloaded with a wider dtype.

    @property
    def gpt(self) -> GPT:
        return self.networks.gpt

    @property
    def stepper(self) -> FusedStep | None:
        """The GPT's fused decode step; None: the module's own."""
        return self.networks.stepper

    @property
    def decoders(self) -> DeviceDecoders | None:
        """What makes codes in bursts; None: they are chosen on the host, step by step."""
        return self.networks.decoders

    @property
    def s2mel(self) -> S2Mel:
        return self.networks.s2mel

    @property
    def vocoder(self) -> torch.nn.Module:
        return self.networks.vocoder

    # --- stages ------------------------------------------------------------------------------------

    def prompt(self, speaker: Speaker, text_ids: Sequence[int], language: str | None = None) -> GPTPrompt:
        """The GPT's prefix of a segment, for all attempts and the feature pass.

        language: of the text, for a model that is told it; None: not known.
        """
        ids = torch.tensor([list(text_ids)], device=self.device)
        number = self.language_number(language)
        return GPTPrompt.build(self.gpt, speaker.conditioning_latents, speaker.emotion_vector, ids, number)

    def language_number(self, language: str | None) -> int | None:
        """The model's number of a language, if it is told one."""
        found: int | None = None
        if language is not None:
            found = family_of(self.config).part("frontend").language_number(language)
        return found

    def feature_pass(self, prompt: GPTPrompt) -> FeaturePass:
        """Computes S2Mel's input from the codes of a segment, chunk by chunk."""
        made: FeaturePass = family_of(self.config).part("features").feature_pass(self.networks, prompt)
        return made

    def features(self, prompt: GPTPrompt, codes: Sequence[int]) -> torch.Tensor:
        """S2Mel's input (1, T, C) of all codes of a segment."""
        return self.feature_pass(prompt).append(codes)

    def n_frames(self, n_codes: int, duration_factor: float = 1.0) -> int:
        """Mel frames of the first `n_codes` codes of a segment."""
        return int(n_codes * self.config.s2mel.mel_frames_per_code * duration_factor)

    def condition(self, features: torch.Tensor, duration_factor: float = 1.0) -> torch.Tensor:
        """The DiT's condition (1, F, C) of the new speech, from S2Mel's input (1, T, C)."""
        n_codes = features.shape[1] // self.config.features_per_code
        condition: torch.Tensor = self.s2mel.length_regulator(features, self.n_frames(n_codes, duration_factor))
        return condition

    def noise(self, n_frames: int, generator: torch.Generator) -> torch.Tensor:
        """Initial noise of the flow (1, M, F).

        Drawn frame by frame, so that a segment rendered in parts has the same noise, and on the CPU, so that a seed
        gives the same noise on every device.
        """
        drawn = torch.randn((n_frames, self.config.audio.n_mels), generator=generator)
        return drawn.T.unsqueeze(0).to(self.device)

    def mel(
        self,
        speaker: Speaker,
        condition: torch.Tensor,
        noise: torch.Tensor,
        settings: FlowSettings,
        should_stop: ShouldStop | None = None,
        context: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Mel (1, M, F) of the new speech only, from noise (1, M, F).

        context: final mel (1, M, K) that directly precedes it, appended to the prompt. condition: (1, K + F, C), of
        both. In mode `fast` on CUDA the prompt may be up to 63 frames shorter, for a length that is replayed.
        """
        known = speaker.reference_mel if context is None else torch.cat([speaker.reference_mel, context], dim=-1)
        conditions = torch.cat([speaker.prompt_condition, condition], dim=1)
        n_left_out = conditions.shape[1] % self.networks.flow_bucket
        if 2 * n_left_out <= known.shape[-1]:  # the oldest frames; a short prompt is kept as it is
            known, conditions = known[:, :, n_left_out:], conditions[:, n_left_out:]
        padded = torch.nn.functional.pad(noise, (known.shape[-1], 0))  # the solver ignores the noise of known frames

        while True:
            with self.networks.widening("s2mel"):
                estimator = adapted(self.s2mel.cfm.estimator, speaker.offsets)
                stop = paced(self.device, should_stop)
                solved = solve_flow(estimator, padded, known, conditions, speaker.style, settings, stop)
                new = mapped(solved[:, :, known.shape[-1] :], speaker.mel_map)
                return self.networks.check_finite("s2mel", new)

    def waveform(
        self, mel: torch.Tensor, start: int = 0, should_stop: ShouldStop | None = None, gain: float = 1.0
    ) -> torch.Tensor:
        """Waveform (S,) float32 on the CPU, from frame `start` on, of the mel (1, M, F) of a segment so far.

        Computed in windows, each with the receptive field around it, so that the result does not depend on them.
        gain: factor, the speaker's.
        Raises Cancelled between two windows if `should_stop` returns True.
        """
        n_frames, hop = mel.shape[-1], self.config.audio.hop_length
        around = reach(self.config.vocoder)
        frames = frames_of(self.vocoder, mel)
        parts, first = [], start
        while first < n_frames:
            if should_stop is not None and should_stop():
                raise Cancelled("The speech was cancelled.")
            last = min(first + VOCODER_WINDOW, n_frames)
            left = max(0, first - around)
            right = min(n_frames, last + around)
            more = (left - right) % self.networks.window_bucket  # earlier frames change no sample
            left -= more if more <= left else 0
            with self.networks.widening("vocoder"):
                samples = render(self.vocoder, frames[:, :, left:right], gain)[0].float().cpu()
                self.networks.check_finite("vocoder", samples)
                parts.append(samples[(first - left) * hop : (last - left) * hop])
                first = last  # not reached where the window overflows: it is rendered again
        return torch.cat(parts) if parts else torch.zeros(0)

    # --- all stages --------------------------------------------------------------------------------

    @torch.inference_mode()
    def speak(
        self,
        speaker: Speaker,
        text_ids: Sequence[int],
        options: SynthesisOptions,
        seed: int,
        should_stop: ShouldStop | None = None,
        expected: Expected | None = None,
        language: str | None = None,
    ) -> SegmentSpeech:
        """One segment from token ids to waveform, with retries under other seeds if a guard fires.

        Raises GenerationError if words are missing in all attempts.
        """
        check_process()
        prompt = self.prompt(speaker, text_ids, language)

        expected = replace(expected or Expected(), ids=tuple(text_ids))
        attempts = Attempts(seed, options.n_attempts)
        for attempt_seed in attempts.seeds():
            decoding = GuardedCodes(self.networks, prompt, options, attempt_seed, expected, self.code_sounds)
            with contextlib.closing(decoding):
                for _ in decoding:
                    if should_stop is not None and should_stop():
                        raise Cancelled("The speech was cancelled.")
            attempts.add(decoding.attempt)
        kept = attempts.kept
        if not kept.codes or kept.is_loss:
            raise words_missing(kept.problem, attempts.number)
        codes = kept.codes
        condition = self.condition(self.features(prompt, codes), options.duration_factor)
        noise = self.noise(condition.shape[1], torch.Generator().manual_seed(kept.seed))
        mel = self.mel(speaker, condition, noise, options.flow_settings(), should_stop)
        waveform = self.waveform(mel, should_stop=should_stop, gain=speaker.gain)
        notices = [*self.notices, *self.networks.take_notices()]
        notices += [str(kept.problem)] if kept.problem is not None and kept.problem.is_worth_telling else []
        return SegmentSpeech(waveform, tuple(codes), kept.seed, attempts.number, tuple(notices))
