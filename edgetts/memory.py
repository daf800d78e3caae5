"""Estimates the memory of a call before anything is loaded, and fits options to a budget.

In: shapes and schemes of a pack's tensors, its dimensions, the options of a call. Out: bytes by stage, and options that
fit, or an error. Makes no tensors and does not import torch.

Counted is the private memory of the process: what it holds when the pack is opened, the weights in their computed form
(including those read from the mapped file), caches, activations, and memory kept by threads and libraries. Not counted:
file pages that the system can reclaim (program code, weights already converted), the finished sound (5 MB a minute,
twice that while it is joined), and learning a voice from a recording. Estimates are for one call at a time on the CPU.

Bounds by stage, from the widest shapes of the networks; the factors are the tensors alive at once in their code:

    loading   the networks loaded so far in their computed form; the next one in both forms; its largest tensor thrice
    decode    keys and values of all layers, all beams, prefix and codes; the codes' again when beams are reordered
    latents   keys and values for one row (twice while the cache of a stream grows), activations of all positions
    flow      per frame of prompt and speech, and per branch of guidance: the input, the skips, the widest layer
    vocoder   the widest stage over one window and its receptive field
    kept      primitives of many lengths (bounded by `edgetts.backends.process`), of which a first call has few

The codes of the next segment are decoded while this one is rendered: the peak is the weights, decoding, the largest of
the other three stages (each with the latents' cache), and what is kept.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgetts.compute import Compute
from edgetts.decoding.guards import cap_codes
from edgetts.errors import UsageError
from edgetts.options import MAX_PROMPT_S, MIN_PROMPT_S, MIN_SEGMENT_TOKENS, SynthesisOptions
from edgetts.pack.config import GPTConfig, IstftVocoderConfig, ModelConfig, VocoderConfig

if TYPE_CHECKING:
    from edgetts.pack.load import Pack

MIB = 1 << 20
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG])(?:i?B)?", re.IGNORECASE)
_FLOAT32 = 4

# Measured on x86-64 Linux with torch 2.13.
_ASSUMED_START = 160 * MIB  # Python, torch and this package before loading, if the system does not report it
_OVERHEAD = 96 * MIB  # of a short call: threads, kernels compiled at run time, small objects
_PRIMITIVE_BYTES = MIB  # with fragmentation: 96 more primitives took 104 MB more after 80 calls
_SLACK = 1.25  # of activations: fragmentation
_PACKING = 1.1  # of quantized weights in a kernel's layout: scales are wider, rows are padded

_GPT_FLOATS = 32  # per channel and position: residual, norms, queries, keys, values, the FFN's inner layer and its GELU
_BLOCK_FLOATS = 16  # of the DiT, per channel: queries, keys, values, rotary embedding, attention, skips, results
_FFN_FLOATS = 4  # per inner channel: both halves, the activated one, their product
_WAVENET_FLOATS = 16  # per channel: both gates, the convolution's two layouts, residual, skips
# Multiples of the widest stage's size in fp32. Measured with the built-in pack: 14, 16 and 22, in this order: the
# convolution library pads channels in half precision.
_VOCODER_TENSORS = {"exact": 14, "reference": 16, "fast": 24}
# Of a vocoder at the frame rate: per sample of a short frame (6 counted, the rest is scratch memory of the library),
# and per hidden value of a ConvNeXt layer (3 of its inner size).
_SHORT_FRAME_FLOATS = 9
_CONVNEXT_FLOATS = 4
_N_PREFIX_EXTRAS = 6  # two speeds, start and stop of the text, start of the codes, a quotation mark
_SQUARE_BYTES = 2 * 2  # attention scores before and after the softmax in bf16, one head at a time
_PROMPT_STEP_S = 0.5


@dataclass(frozen=True)
class Weights:
    """Bytes of all run-phase networks: the peak while loading, and afterwards."""

    loading: float
    resident: float


@dataclass(frozen=True)
class Size:
    """The largest size of a call."""

    n_tokens: int  # of text in one segment
    n_codes: int  # of one segment
    n_beams: int
    prompt_frames: int
    n_rows: int  # 2 with guidance
    in_parts: bool  # a stream, whose segments may be rendered in several parts


@dataclass(frozen=True)
class Estimate:
    """Bytes by stage, and the peak of all."""

    start: float  # held by the process before loading
    loading: float
    weights: float
    decode: float
    latents: float
    flow: float
    vocoder: float
    kept: float  # across calls

    @property
    def peak(self) -> float:
        """The maximum over time."""
        speaking = self.weights + self.decode + max(self.latents, self.flow, self.vocoder) + self.kept
        return self.start + _OVERHEAD + max(self.loading, speaking)


def parse_size(text: str) -> int:
    """Bytes of a size such as 1500M or 2G (K, M, G: powers of 1024). Raises UsageError."""
    found = _SIZE.fullmatch(text.strip())
    n_bytes = round(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if n_bytes <= 0:
        raise UsageError(f"{text!r} is not a size of memory: give a number with K, M or G, such as 1500M or 2G.")
    return n_bytes


def shown(n_bytes: float) -> str:
    """A size as `parse_size` reads it, in whole M, rounded up."""
    return f"{math.ceil(n_bytes / MIB)}M"


def held_now() -> float:
    """Private bytes of this process now; an assumption if the system does not report them."""
    from edgetts.pack.page_release import held_bytes

    held = held_bytes()
    return _ASSUMED_START if held is None else held


def weigh(pack: Pack, compute: Compute, *, half_bytes: int, decodes: bool) -> Weights:
    """Weights of the run phase on the CPU.

    half_bytes: size of a number in compute mode `fast`, 2 or 4. decodes: whether the GPT's weights are dequantized to
    fp32. Reads the headers of the files and checks them as loading does. Raises PackError.
    """
    from edgetts.pack.schemes import stored_bytes

    gpt = 0.0
    schemes = pack.manifest.components["gpt"].scheme_of()
    for name, shape in pack.shapes("gpt").items():
        group = schemes.get(name)
        is_table = "emb" in name and group is not None and group.scheme != "int8_channel"  # dequantized by the loader
        if group is None or decodes or is_table:
            gpt += _FLOAT32 * math.prod(shape)
        else:
            gpt += _PACKING * stored_bytes(group.scheme, group.group_size, shape)
    plain: dict[str, int] = {}
    largest: dict[str, int] = {}
    for component in ("s2mel", "vocoder", "quantizer", "emotion"):
        for name, shape in pack.shapes(component).items():
            kind = "dit" if name.startswith("cfm.estimator.") else component
            plain[kind] = plain.get(kind, 0) + math.prod(shape)
            largest[component] = max(largest.get(component, 0), math.prod(shape))
    width = half_bytes if compute == "fast" else _FLOAT32
    copied = 0 if compute == "reference" else width
    resident, loading = gpt, gpt
    for component, kinds in (("s2mel", ("s2mel", "dit")), ("vocoder", ("vocoder",))):  # in the order of the pipeline
        whole = _FLOAT32 * sum(plain[kind] for kind in kinds)
        other_form = copied * plain[kinds[-1]]
        loading = max(loading, resident + whole + other_form + 3 * _FLOAT32 * largest[component])
        resident += whole - (_FLOAT32 - width) * plain[kinds[-1]]
    resident += _FLOAT32 * (plain["quantizer"] + plain["emotion"])
    return Weights(max(loading, resident), resident)


def estimate(config: ModelConfig, weights: Weights, size: Size, compute: Compute, *, start: float) -> Estimate:
    """Bytes by stage of a call of this size. start: held by the process before loading."""
    from edgetts.backends.process import CACHED_PRIMITIVES
    from edgetts.models.vocoder import reach

    gpt, dit = config.gpt, config.s2mel.dit
    n_prefix = gpt.n_conditioning_latents + size.n_tokens + _N_PREFIX_EXTRAS
    n_positions = n_prefix + size.n_codes
    row = _cache_row(gpt)
    decode: float = size.n_beams * row * (n_positions + (size.n_codes if size.n_beams > 1 else 0))
    decode += _SLACK * _FLOAT32 * _GPT_FLOATS * gpt.model_dim * n_prefix
    cache = row * (n_prefix + size.n_codes * (2 if size.in_parts else 1))
    latents = cache + _SLACK * _FLOAT32 * _GPT_FLOATS * gpt.model_dim * n_positions
    if size.in_parts:  # the attention mask
        latents += _SLACK * _FLOAT32 * size.n_codes * n_positions

    length = size.prompt_frames + math.ceil(size.n_codes * config.s2mel.mel_frames_per_code)
    inputs = 4 * (dit.n_mels + dit.content_dim)  # of both branches, before and after concatenation
    hidden = (dit.depth // 2 + 4) * dit.hidden_dim
    widest = max(_BLOCK_FLOATS * dit.hidden_dim + _FFN_FLOATS * dit.ffn_dim, _WAVENET_FLOATS * dit.wavenet.hidden_dim)
    flow = _SLACK * _FLOAT32 * size.n_rows * length * (inputs + hidden + widest)
    if compute == "fast":
        flow += _SLACK * _SQUARE_BYTES * length * length

    n_frames = _window_frames() + 2 * reach(config.vocoder)
    vocoder = _SLACK * _FLOAT32 * n_frames * _vocoder_floats(config.vocoder, compute)
    if isinstance(config.vocoder, IstftVocoderConfig):  # it computes the pitch of all frames at once
        vocoder += _SLACK * _FLOAT32 * length * _CONVNEXT_FLOATS * config.vocoder.pitch.ffn_dim
    kept = CACHED_PRIMITIVES * _PRIMITIVE_BYTES
    return Estimate(start, weights.loading, weights.resident, decode, latents, cache + flow, cache + vocoder, kept)


def _cache_row(config: GPTConfig) -> int:
    """Bytes of keys and values of one position of one beam, in fp32."""
    return 2 * config.n_layers * config.model_dim * _FLOAT32


def _window_frames() -> int:
    from edgetts.pipeline import VOCODER_WINDOW

    return VOCODER_WINDOW


def _vocoder_floats(config: VocoderConfig | IstftVocoderConfig, compute: Compute) -> int:
    """Numbers per mel frame in the widest stage of the vocoder."""
    if isinstance(config, IstftVocoderConfig):
        short_frames = _SHORT_FRAME_FLOATS * config.frames_per_mel * config.n_fft
        return short_frames + _CONVNEXT_FLOATS * config.ffn_dim
    channels, samples, widest = config.upsample_initial_channel, 1, 0
    for rate in config.upsample_rates:
        channels, samples = channels // 2, samples * rate
        widest = max(widest, channels * samples)
    return _VOCODER_TENSORS[compute] * widest


@dataclass(frozen=True)
class Budget:
    """A bound on memory, for one pack, compute mode and process."""

    n_bytes: int
    config: ModelConfig
    weights: Weights
    compute: Compute
    start: float

    @classmethod
    def of(cls, n_bytes: int, pack: Pack, compute: Compute, *, half_bytes: int, decodes: bool) -> Budget:
        """For this process, with the memory that it holds now.

        Raises UsageError, with the need of the shortest usual segment, if not even a second of speech fits.
        """
        weights = weigh(pack, compute, half_bytes=half_bytes, decodes=decodes)
        budget = cls(n_bytes, pack.config, weights, compute, held_now())
        given = {"n_beams": 1, "max_segment_tokens": MIN_SEGMENT_TOKENS, "guards": True}
        usual = SynthesisOptions.of(pack.manifest.defaults, given)
        least = dataclasses.replace(usual, max_codes=min(usual.max_codes, math.ceil(pack.config.code_rate)))
        frames = budget._frames(MIN_PROMPT_S)
        if budget.estimate(least, frames, in_parts=False).peak > n_bytes:
            raise budget._refusal(budget.estimate(usual, frames, in_parts=False).peak, 1)
        return budget

    def estimate(self, options: SynthesisOptions, prompt_frames: int, *, in_parts: bool) -> Estimate:
        """The estimate of a call with these options and a voice of `prompt_frames` mel frames."""
        from edgetts.decoding.decode import max_codes_limit

        n_tokens = options.max_segment_tokens
        n_codes = min(options.max_codes, max_codes_limit(self.config.gpt))
        if options.guards:
            n_codes = cap_codes(n_tokens + 1, self.config.code_rate, n_codes)
        if options.prompt_s is not None:
            prompt_frames = min(prompt_frames, self._frames(options.prompt_s))
        n_rows = 2 if options.flow_settings().is_guided(0.0) else 1
        size = Size(n_tokens, n_codes, options.n_beams, prompt_frames, n_rows, in_parts)
        return self.estimate_size(size)

    def estimate_size(self, size: Size) -> Estimate:
        """The estimate of a call of this size."""
        return estimate(self.config, self.weights, size, self.compute, start=self.start)

    def fit(
        self, options: SynthesisOptions, prompt_frames: int, *, in_parts: bool
    ) -> tuple[SynthesisOptions, str | None]:
        """The options, with shorter segments and then a shorter prompt as needed, and a notice if they were changed.

        Raises UsageError if the shortest ones do not fit.
        """
        tried = options
        for tried in self._smaller(options, prompt_frames):
            if self.estimate(tried, prompt_frames, in_parts=in_parts).peak <= self.n_bytes:
                return tried, self._notice(options, tried)
        raise self._refusal(self.estimate(tried, prompt_frames, in_parts=in_parts).peak, options.n_beams)

    def _refusal(self, needed: float, n_beams: int) -> UsageError:
        fewer = ", take fewer beams" if n_beams > 1 else ""
        return UsageError(
            f"Speaking with this pack needs at least {shown(needed)} of memory, but the budget is "
            f"{shown(self.n_bytes)}: allow more{fewer}, or make a smaller pack with `edgetts quantize`."
        )

    def _smaller(self, options: SynthesisOptions, prompt_frames: int) -> Iterable[SynthesisOptions]:
        """The unchanged options, then ever shorter segments, then an ever shorter prompt."""
        yield options
        tried = options
        for n_tokens in range(options.max_segment_tokens, MIN_SEGMENT_TOKENS - 1, -1):
            most = cap_codes(n_tokens + 1, self.config.code_rate, options.max_codes)
            tried = dataclasses.replace(options, max_segment_tokens=n_tokens, max_codes=most)
            yield tried
        whole_s = prompt_frames / self.config.audio.frame_rate
        prompt_s = min(whole_s, MAX_PROMPT_S if options.prompt_s is None else options.prompt_s)
        for i in range(math.ceil(prompt_s / _PROMPT_STEP_S) - 1, 0, -1):
            yield dataclasses.replace(tried, prompt_s=max(MIN_PROMPT_S, i * _PROMPT_STEP_S))

    def _notice(self, asked: SynthesisOptions, found: SynthesisOptions) -> str | None:
        changes = []
        if found.max_segment_tokens != asked.max_segment_tokens:
            changes.append(f"segments have at most {found.max_segment_tokens} tokens, not {asked.max_segment_tokens}")
        if found.max_codes != asked.max_codes and not asked.guards:  # with guards the text bounds them anyway
            changes.append(f"a segment has at most {found.max_codes} codes, not {asked.max_codes}")
        if found.prompt_s != asked.prompt_s:
            changes.append(f"the prompt is {found.prompt_s:g} s of the voice's recording")
        return f"To stay within {shown(self.n_bytes)} of memory, {', '.join(changes)}." if changes else None

    def _frames(self, seconds: float) -> int:
        return round(seconds * self.config.audio.frame_rate)
