"""Work of each stage for its roofline: bytes of weights to read and operations to compute.

In: an open pack and the sizes of a call. Out: `Work` by stage. Operations are counted, not computed from formulas: the
network runs on the meta device under PyTorch's FLOP counter. Bytes are those of the stored weights; activations are
assumed to stay in the cache. Measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from edgetts.bench.machine import Rates
from edgetts.decoding.settings import FlowSettings
from edgetts.families import family_of
from edgetts.models import registry
from edgetts.pack.config import ModelConfig
from edgetts.pack.load import Pack
from edgetts.pack.meta_init import ModuleT, init_on_meta
from edgetts.pack.schemes import Quantized

FBANK_RATE = 100  # filter-bank frames per second
_META = torch.device("meta")
_LOOKED_UP = ("embedding", ".emb.", "speed_emb")  # of tables one row is read, not all


@dataclass(frozen=True)
class Sizes:
    """What a call computes."""

    n_prefix: int  # positions in front of the codes
    n_codes: int
    n_prompt: int  # mel frames of the voice
    n_frames: int  # mel frames of the new speech
    settings: FlowSettings


@dataclass(frozen=True)
class Work:
    """Of one stage."""

    n_bytes: float
    flops: float

    def floor_s(self, rates: Rates) -> float:
        """Roofline time: the larger of DRAM traffic over bandwidth and operations over matrix rate, in seconds."""
        return max(self.n_bytes / rates.bytes_per_s, self.flops / rates.flops)

    def __add__(self, other: Work) -> Work:
        return Work(self.n_bytes + other.n_bytes, self.flops + other.flops)

    def __mul__(self, times: float) -> Work:
        return Work(self.n_bytes * times, self.flops * times)


def stage_works(pack: Pack, sizes: Sizes) -> dict[str, Work]:
    """Work of every stage of the run phase, by the names of the report."""
    config = pack.config
    gpt, s2mel, vocoder = (
        _counted(registry.GPT, config),
        _counted(registry.S2MEL, config),
        _counted(registry.VOCODER, config),
    )
    dim, length = config.gpt.model_dim, sizes.n_prompt + sizes.n_frames
    dit = config.s2mel.dit

    def tokens(n: int) -> float:
        return _flops(lambda: gpt(_meta(1, n, dim)))

    def head() -> float:
        return _flops(lambda: gpt.logits(_meta(1, 1, dim)))

    def estimate(rows: int) -> float:
        return _flops(
            lambda: s2mel.cfm.estimator(
                _meta(rows, dit.n_mels, length),
                _meta(rows, dit.n_mels, length),
                _meta(rows),
                _meta(rows, dit.style_dim),
                _meta(rows, length, dit.content_dim),
            )
        )

    settings = sizes.settings
    gpt_bytes, dit_bytes = _bytes(pack, "gpt"), _bytes(pack, "s2mel", "cfm.estimator.")
    one_row = estimate(1)
    dit_step = Work(dit_bytes, (2 if settings.is_guided(0.0) else 1) * one_row)
    steps = Work(dit_bytes * settings.n_evals, one_row * settings.rows_per_eval * settings.n_evals)
    width = config.s2mel.length_regulator.in_channels
    regulator = _flops(lambda: s2mel.length_regulator(_meta(1, sizes.n_codes, width), sizes.n_frames))
    regulator += _flops(lambda: s2mel.project_latents(_meta(1, sizes.n_codes, dim)))
    works = {
        "prefill": Work(gpt_bytes, tokens(sizes.n_prefix) + head()),
        "decode_per_code": Work(gpt_bytes, tokens(1) + head()),
        "latent": Work(gpt_bytes, tokens(sizes.n_prefix + sizes.n_codes)),
        "dit_step": dit_step,
        "s2mel": steps + Work(_bytes(pack, "s2mel") - dit_bytes, regulator),
        "vocoder": Work(
            _bytes(pack, "vocoder"), _flops(lambda: vocoder(_meta(1, config.audio.n_mels, sizes.n_frames)))
        ),
    }
    decode = works["decode_per_code"] * (sizes.n_codes - 1)
    works["whole"] = works["prefill"] + decode + works["latent"] + works["s2mel"] + works["vocoder"]
    return works


def enroll_work(pack: Pack, prompt_s: float) -> Work:
    """Work of enrolling `prompt_s` seconds. The recording is encoded twice, as speaker and as emotion."""
    config = pack.config
    n_codes, n_filter_frames = round(prompt_s * config.code_rate), round(prompt_s * FBANK_RATE)
    encoder, codec, speaker, conditioning = (
        _counted(registry.SEMANTIC_ENCODER, config),
        _counted(registry.CODEC_ENCODER, config),
        _counted(registry.SPEAKER_ENCODER, config),
        _counted(registry.CONDITIONING, config),
    )
    features = _meta(1, n_codes, config.semantic_codec.hidden_size)
    flops = 2 * _flops(lambda: encoder(_meta(1, n_codes, config.semantic_encoder.feature_dim), None))
    flops += _flops(lambda: codec(features))
    flops += _flops(lambda: speaker(_meta(1, n_filter_frames, config.speaker_encoder.n_mels)))
    flops += _flops(lambda: conditioning.speaker_latents(features))
    flops += 2 * _flops(lambda: conditioning.emotion_vector(features))
    return Work(sum(_bytes(pack, name) for name in family_of(config).enroll_components), flops)


def whole_floor_s(works: dict[str, Work], n_codes: int, rates: Rates) -> float:
    """Roofline time of the whole call: the sum over its stages."""
    once = sum(works[name].floor_s(rates) for name in ("prefill", "latent", "s2mel", "vocoder"))
    return once + (n_codes - 1) * works["decode_per_code"].floor_s(rates)


def _counted(network: registry.Component[ModuleT], config: ModelConfig) -> ModuleT:
    """A network on the meta device in eval mode: in training mode, norms refuse a batch of one."""
    return init_on_meta(lambda: network.build(config)).eval().requires_grad_(False)


def _flops(run: Callable[[], Any]) -> float:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        run()
    return float(counter.get_total_flops())


def _meta(*shape: int) -> Tensor:
    return torch.empty(shape, device=_META)


def _bytes(pack: Pack, component: str, prefix: str = "") -> float:
    """Bytes of a component's weights as they are stored, without tables that are only looked up."""
    total = 0
    for name, tensor in pack.stored(component).items():
        if not name.startswith(prefix) or any(part in name for part in _LOOKED_UP):
            continue
        parts = tensor.parts.values() if isinstance(tensor, Quantized) else (tensor,)
        total += sum(part.numel() * part.element_size() for part in parts)
    return float(total)
