"""What the GPT says when it speaks: the sequences that calibration and measuring run on.

In: an open pack in float32, texts and a voice. Out: `Sample`s, the text ids and the codes that the pack's own GPT
answered with, and the embeddings that decoding fed. Everything goes through the front end, the enrollment and the
decode loop that synthesis uses, with fixed seeds: the same pack and texts give the same samples.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edgetts.audio import io
from edgetts.audio.decode import Samples
from edgetts.decoding.attempts import derive_seed
from edgetts.decoding.decode import generate_codes, max_codes_limit
from edgetts.decoding.prompt import GPTPrompt
from edgetts.errors import UsageError
from edgetts.models.gpt import GPT
from edgetts.options import SynthesisOptions
from edgetts.pack.entries import VOICE_SUFFIX
from edgetts.pack.load import Pack, open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pack.text import tokenizer_of
from edgetts.pipeline import Pipeline
from edgetts.progress import CountedProgress
from edgetts.text.frontend import TextFrontend
from edgetts.voices.enroll import ENCODER_RATE, enroll
from edgetts.voices.speaker import Speaker
from edgetts.voices.voice import Voice
from quant import texts

CPU = torch.device("cpu")
MAX_REFERENCE_SECONDS = 15.0
_VOICE_SEED = 7  # of our own recording
_HELD_OUT_EVERY = 5  # of the user's texts, one in so many is measured on and not calibrated with


@dataclass(frozen=True)
class Speech:
    """What is said and by whom. None: our own texts, and the pack's first ready voice or our own recording."""

    texts: tuple[str, ...] | None = None
    voice: Path | None = None  # a recording, or a voice file of the pack

    def identity(self) -> str:
        """Changes with what is said or by whom."""
        about = repr((self.texts, None if self.voice is None else io.hash_file(self.voice), texts.CALIBRATION))
        return hashlib.sha256(about.encode()).hexdigest()

    def calibration(self, languages: tuple[str, ...], n: int) -> tuple[str, ...]:
        """The texts to calibrate on: with texts of the user's, every one but those held out."""
        if self.texts is None:
            return texts.choose(texts.CALIBRATION, languages, n)
        return tuple(t for i, t in enumerate(self.texts) if i % _HELD_OUT_EVERY)[:n] or self.texts[:n]

    def held_out(self, languages: tuple[str, ...], n: int) -> tuple[str, ...]:
        """The texts to measure on."""
        if self.texts is None:
            return texts.choose(texts.HELD_OUT, languages, n)
        return self.texts[::_HELD_OUT_EVERY][:n]


@dataclass(frozen=True)
class Sample:
    """One text, and the codes that the GPT answered with."""

    text_ids: tuple[int, ...]
    codes: tuple[int, ...]
    language: int | None = None

    def prompt(self, pipeline: Pipeline, speaker: Speaker) -> GPTPrompt:
        """What stands in front of its codes."""
        return pipeline.prompt(speaker, self.text_ids, self.language)


def find_voice(pack: Pack, recording: Path | None) -> Voice:
    """The voice to speak with. Raises UsageError when there is none."""
    if recording is not None and recording.suffix == VOICE_SUFFIX:
        voice = Voice.load(recording)
        voice.check(pack.manifest.encoder_id, pack.manifest.family)
        return voice
    if recording is not None:
        heard = io.read_audio(recording, pack.config.audio.sample_rate, MAX_REFERENCE_SECONDS).samples
        heard_16k = io.read_audio(recording, ENCODER_RATE, MAX_REFERENCE_SECONDS).samples
        return enroll(pack, torch.from_numpy(heard), torch.from_numpy(heard_16k), device=CPU)
    ready = pack.manifest.ready_voices()
    if ready:
        return Voice.load(pack.file(next(iter(ready.values()))))
    waveform, rate = _own_recording(pack.home)
    heard, heard_16k = (io.resample(waveform, rate, to) for to in (pack.config.audio.sample_rate, ENCODER_RATE))
    return enroll(pack, torch.from_numpy(heard), torch.from_numpy(heard_16k), device=CPU)


def make_samples(
    pipeline: Pipeline,
    speaker: Speaker,
    spoken: tuple[str, ...],
    *,
    max_codes: int,
    seed: int,
    progress: CountedProgress | None = None,
    what: str = "texts",
) -> list[Sample]:
    """Let the pipeline's GPT answer each text, sampling as synthesis does, with one beam."""
    frontend = TextFrontend(tokenizer_of(pipeline.pack))
    options = SynthesisOptions.of(pipeline.pack.manifest.defaults, {"n_beams": 1, "do_sample": True})
    limit = min(max_codes, max_codes_limit(pipeline.config.gpt))
    samples: list[Sample] = []
    for i, text in enumerate(spoken):
        if progress is not None:
            progress(what, i, len(spoken))
        for j, segment in enumerate(frontend.segments(text, options.max_segment_tokens).segments):
            prompt = pipeline.prompt(speaker, segment.ids)
            generator = torch.Generator().manual_seed(derive_seed(seed, i, j))
            result = generate_codes(
                *(pipeline.gpt, prompt, options.decode_settings(limit), generator), stepper=pipeline.stepper
            )
            if result.codes:
                samples.append(Sample(tuple(segment.ids), tuple(result.codes)))
    if not samples:
        raise UsageError("The model says nothing to the texts of the calibration: give others with --texts FILE.")
    return samples


def decoding_embeddings(gpt: GPT, speaker: Speaker, sample: Sample) -> Tensor:
    """What cached decoding feeds for a sample, in one piece: (1, 34 + T + 2 + N + 1, C), positions 0, 2, 3, ..."""
    fed = torch.tensor([[gpt.config.start_mel_token, *sample.codes]])
    positions = torch.arange(fed.shape[1])
    positions[1:] += 1
    prefix = gpt.prefix(
        speaker.conditioning_latents, speaker.emotion_vector, torch.tensor([sample.text_ids]), sample.language
    )
    return torch.cat([prefix, gpt.mel_embed(fed, positions[: fed.shape[1]])], dim=1)


def _own_recording(home: Path | None) -> tuple[Samples, int]:
    """A sentence that the built-in pack speaks with its first voice, and its sample rate."""
    if not builtin_pack().is_dir():
        raise UsageError("This installation has no recording to calibrate with: give one with --voice RECORDING.")
    pack = open_pack(builtin_pack(), home=home)
    pipeline = Pipeline(pack, CPU, compute="exact")
    frontend = TextFrontend(tokenizer_of(pack))
    options = SynthesisOptions.of(pack.manifest.defaults, {})
    speaker = pipeline.speaker(find_voice(pack, None))
    plan = frontend.segments(texts.VOICE, options.max_segment_tokens)
    parts = [pipeline.speak(speaker, segment.ids, options, _VOICE_SEED).waveform for segment in plan.segments]
    return torch.cat(parts).numpy(), pack.config.audio.sample_rate
