"""Estimates the memory of a call before anything is loaded.

In: shapes and schemes of a pack's tensors, its dimensions, the size of a call, a `Place`. Out: bytes by stage. Makes no
tensors and does not import torch.

Counted is the private memory of the process: what it holds when the pack is opened, the weights in their computed form
(including those read from the mapped file), caches, activations, and memory kept by threads and libraries. Not counted:
file pages that the system can reclaim (program code, weights already converted), the finished sound (5 MB a minute,
twice that while it is joined), and learning a voice from a recording. Estimates are for one call at a time; on a GPU
with its own memory they are of that memory only.

Bounds by stage, from the widest shapes of the networks; the factors are the tensors alive at once in their code:

    loading   the networks loaded so far in their computed form; the next one in both forms; its largest tensor thrice
    decode    keys and values of all layers, all beams, prefix and codes; the codes' again when beams are reordered
    features  of a second pass of the GPT: keys and values for one row (twice while the cache of a stream grows),
              activations of all positions; of a codec's decoder: activations of all codes
    flow      per frame of prompt and speech, and per branch of guidance: the input, the skips, the widest layer
    vocoder   the widest stage over one window and its receptive field
    kept      primitives of many lengths (bounded by `edgetts.backends.process`), of which a first call has few

The codes of the next segment are decoded while this one is rendered: the peak is the weights, decoding, the largest of
the other three stages (each with the cache of a second pass), and what is kept.

On CUDA one cache serves all beams, nothing is copied when they are reordered, attention keeps no scores, and
activations have the width of the compute mode. The CUDA figures follow from shapes; no card has confirmed them yet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgetts.compute import Compute
from edgetts.families import family_of
from edgetts.memory.place import MIB, Place
from edgetts.pack.config import IstftVocoderConfig, ModelConfig, VocoderConfig

if TYPE_CHECKING:
    from edgetts.pack.load import Pack

_FLOAT32 = 4

# Measured on x86-64 Linux with torch 2.13.
_OVERHEAD = 96 * MIB  # of a short call: threads, kernels compiled at run time, small objects
_CUDA_WORKSPACES = 64 * MIB  # of cuBLAS, 32 MiB for each of two streams on Hopper, 8 MiB before
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
    features: float
    flow: float
    vocoder: float
    kept: float  # across calls
    overhead: float  # of threads and libraries

    @property
    def peak(self) -> float:
        """The maximum over time."""
        speaking = self.weights + self.decode + max(self.features, self.flow, self.vocoder) + self.kept
        return self.start + self.overhead + max(self.loading, speaking)


def weigh(pack: Pack, compute: Compute, place: Place) -> Weights:
    """Weights of the run phase.

    Reads the headers of the files and checks them as loading does. Raises PackError.
    """
    from edgetts.pack.schemes import stored_bytes

    gpt = 0.0
    schemes = pack.manifest.components["gpt"].scheme_of()
    for name, shape in pack.shapes("gpt").items():
        group = schemes.get(name)
        is_table = "emb" in name and group is not None and group.scheme != "int8_channel"  # dequantized by the loader
        if group is None or place.decodes or is_table:
            gpt += place.gpt_bytes * math.prod(shape)
        else:
            gpt += _PACKING * stored_bytes(group.scheme, group.group_size, shape)
    plain: dict[str, int] = {}
    largest: dict[str, int] = {}
    parts: dict[str, dict[str, int]] = {}
    others = [name for name in family_of(pack.config).run_components if name not in ("gpt", "s2mel", "vocoder")]
    for component in ("s2mel", "vocoder", *others):
        for name, shape in pack.shapes(component).items():
            kind = "dit" if name.startswith("cfm.estimator.") else component
            plain[kind] = plain.get(kind, 0) + math.prod(shape)
            largest[component] = max(largest.get(component, 0), math.prod(shape))
            part = _part(name)
            sizes = parts.setdefault(kind, {})
            sizes[part] = sizes.get(part, 0) + math.prod(shape)
    width = place.acoustic_bytes
    copied = 0 if compute == "reference" else width
    resident, loading = gpt, gpt
    for component, kinds in (("s2mel", ("s2mel", "dit")), ("vocoder", ("vocoder",))):  # in the order of the pipeline
        whole = _FLOAT32 * sum(plain[kind] for kind in kinds)
        other_form = copied * max(parts[kinds[-1]].values())  # the plain form is dropped part by part
        loading = max(loading, resident + whole + other_form + 3 * _FLOAT32 * largest[component])
        resident += whole - (_FLOAT32 - width) * plain[kinds[-1]]
    resident += _FLOAT32 * sum(plain[name] for name in others)
    return Weights(max(loading, resident), resident)


def _part(name: str) -> str:
    """The name of the block or layer that a tensor belongs to: everything up to the first number."""
    words = name.split(".")
    numbers = (i for i, word in enumerate(words) if word.isdigit())
    return ".".join(words[: next(numbers, 0) + 1])


def estimate(
    config: ModelConfig, weights: Weights, size: Size, compute: Compute, place: Place, *, start: float
) -> Estimate:
    """Bytes by stage of a call of this size. start: held by the process before loading."""
    from edgetts.backends.conv_forms import UNFOLDED_BYTES
    from edgetts.backends.process import CACHED_PRIMITIVES
    from edgetts.backends.step_state import NOISE_RING, bucket_of
    from edgetts.models.vocoder import reach

    gpt, dit = config.gpt, config.s2mel.dit
    n_prefix = gpt.n_conditioning_latents + size.n_tokens + _N_PREFIX_EXTRAS
    n_positions = n_prefix + size.n_codes
    row = 2 * gpt.n_layers * gpt.model_dim * place.gpt_bytes  # keys and values of one position of one beam
    decode: float
    if place.on_cuda:
        decode = row * (bucket_of(n_prefix + size.n_beams * size.n_codes) + n_prefix)  # and the prefix again
        decode += _FLOAT32 * NOISE_RING * size.n_beams * gpt.n_mel_codes
    else:
        decode = size.n_beams * row * (n_positions + (size.n_codes if size.n_beams > 1 else 0))
    decode += _SLACK * place.gpt_bytes * _GPT_FLOATS * gpt.model_dim * n_prefix
    cache = row * (n_prefix + size.n_codes * (2 if size.in_parts else 1)) if config.has_latent_pass else 0
    features = cache + _SLACK * _FLOAT32 * config.decoder_floats * size.n_codes
    if config.has_latent_pass:
        features += _SLACK * place.gpt_bytes * _GPT_FLOATS * gpt.model_dim * n_positions
        if size.in_parts:  # the attention mask
            features += _SLACK * _FLOAT32 * size.n_codes * n_positions

    length = size.prompt_frames + math.ceil(size.n_codes * config.s2mel.mel_frames_per_code)
    inputs = 4 * (dit.n_mels + dit.content_dim)  # of both branches, before and after concatenation
    hidden = (dit.depth // 2 + 4) * dit.hidden_dim
    widest = max(_BLOCK_FLOATS * dit.hidden_dim + _FFN_FLOATS * dit.ffn_dim, _WAVENET_FLOATS * dit.wavenet.hidden_dim)
    width = place.acoustic_bytes if place.on_cuda else _FLOAT32
    flow = _SLACK * size.n_rows * length * (_FLOAT32 * inputs + width * (hidden + widest))
    if compute == "fast" and not place.on_cuda:
        flow += _SLACK * _SQUARE_BYTES * length * length

    n_frames = _window_frames() + 2 * reach(config.vocoder)
    if place.on_cuda:  # its last stage is in fp32
        vocoder = _SLACK * n_frames * (width + _FLOAT32 / 2) * _vocoder_floats(config.vocoder, "exact")
        vocoder += 0 if isinstance(config.vocoder, IstftVocoderConfig) else UNFOLDED_BYTES
    else:
        vocoder = _SLACK * _FLOAT32 * n_frames * _vocoder_floats(config.vocoder, compute)
    if isinstance(config.vocoder, IstftVocoderConfig):  # it computes the pitch of all frames at once
        vocoder += _SLACK * _FLOAT32 * length * _CONVNEXT_FLOATS * config.vocoder.pitch.ffn_dim
    kept = 0 if place.on_cuda else CACHED_PRIMITIVES * _PRIMITIVE_BYTES
    overhead = (_CUDA_WORKSPACES if place.on_cuda else 0) + (_OVERHEAD if place.counts_host else 0)
    stages = decode, features, cache + flow, cache + vocoder
    return Estimate(start, weights.loading, weights.resident, *stages, kept, overhead)


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
