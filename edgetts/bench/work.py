"""Work of each stage for its roofline: bytes of weights to read and operations to compute.

In: an open pack and the sizes of a call. Out: `Work` by stage. Operations are counted, not computed from formulas: the
network runs on the meta device under PyTorch's FLOP counter. Bytes are those of the stored weights; activations are
assumed to stay in the cache. Measures nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgetts.bench.counting import flops, meta, on_meta, weight_bytes
from edgetts.bench.machine import Rates
from edgetts.decoding.settings import FlowSettings
from edgetts.families import family_of
from edgetts.models import registry
from edgetts.pack.load import Pack

FBANK_RATE = 100  # filter-bank frames per second


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
        on_meta(registry.GPT, config),
        on_meta(registry.S2MEL, config),
        on_meta(registry.VOCODER, config),
    )
    dim, length = config.gpt.model_dim, sizes.n_prompt + sizes.n_frames
    dit = config.s2mel.dit

    def tokens(n: int) -> float:
        return flops(lambda: gpt(meta(1, n, dim)))

    def head() -> float:
        return flops(lambda: gpt.logits(meta(1, 1, dim)))

    def evaluation(rows: int) -> float:
        return flops(
            lambda: s2mel.cfm.estimator(
                meta(rows, dit.n_mels, length),
                meta(rows, dit.n_mels, length),
                meta(rows),
                meta(rows, dit.style_dim),
                meta(rows, length, dit.content_dim),
            )
        )

    settings = sizes.settings
    gpt_bytes, dit_bytes = weight_bytes(pack, "gpt"), weight_bytes(pack, "s2mel", "cfm.estimator.")
    one_row = evaluation(1)
    dit_step = Work(dit_bytes, (2 if settings.is_guided(0.0) else 1) * one_row)
    steps = Work(dit_bytes * settings.n_evals, one_row * settings.rows_per_eval * settings.n_evals)
    width, n_features = config.s2mel.length_regulator.in_channels, sizes.n_codes * config.features_per_code
    regulator = flops(lambda: s2mel.length_regulator(meta(1, n_features, width), sizes.n_frames))
    family = family_of(config).part("work")
    works = {
        "prefill": Work(gpt_bytes, tokens(sizes.n_prefix) + head()),
        "decode_per_code": Work(gpt_bytes, tokens(1) + head()),
        "features": Work(*family.features(pack, sizes.n_prefix, sizes.n_codes)),
        "dit_step": dit_step,
        "s2mel": steps + Work(weight_bytes(pack, "s2mel", "length_regulator."), regulator),
        "vocoder": Work(
            weight_bytes(pack, "vocoder"), flops(lambda: vocoder(meta(1, config.audio.n_mels, sizes.n_frames)))
        ),
    }
    decode = works["decode_per_code"] * (sizes.n_codes - 1)
    works["whole"] = works["prefill"] + decode + works["features"] + works["s2mel"] + works["vocoder"]
    return works


def enroll_work(pack: Pack, prompt_s: float) -> Work:
    """Work of enrolling `prompt_s` seconds. The recording is encoded twice, as speaker and as emotion."""
    config = pack.config
    n_features, n_filter_frames = round(prompt_s * config.feature_rate), round(prompt_s * FBANK_RATE)
    encoder, speaker, conditioning = (
        on_meta(registry.SEMANTIC_ENCODER, config),
        on_meta(registry.SPEAKER_ENCODER, config),
        on_meta(registry.CONDITIONING, config),
    )
    features = meta(1, n_features, config.semantic_codec.hidden_size)
    done = 2 * flops(lambda: encoder(meta(1, n_features, config.semantic_encoder.feature_dim), None))
    done += flops(lambda: speaker(meta(1, n_filter_frames, config.speaker_encoder.n_mels)))
    done += family_of(config).part("work").speaker(pack, n_features)
    done += 2 * flops(lambda: conditioning.emotion_vector(features))
    return Work(sum(weight_bytes(pack, name) for name in family_of(config).enroll_components), done)


def whole_floor_s(works: dict[str, Work], n_codes: int, rates: Rates) -> float:
    """Roofline time of the whole call: the sum over its stages."""
    once = sum(works[name].floor_s(rates) for name in ("prefill", "features", "s2mel", "vocoder"))
    return once + (n_codes - 1) * works["decode_per_code"].floor_s(rates)
