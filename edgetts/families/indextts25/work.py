"""Counts operations and bytes of the parts that only IndexTTS-2.5 has, for `edgetts.bench.work`."""

from __future__ import annotations

from edgetts.bench.counting import flops, meta, on_meta, weight_bytes
from edgetts.models import registry
from edgetts.pack.load import Pack


def features(pack: Pack, _n_prefix: int, n_codes: int) -> tuple[float, float]:
    """(bytes, operations) of S2Mel's input: the codec's decoder."""
    decoder = on_meta(registry.component("codec_decoder"), pack.config)
    quantized = meta(1, n_codes, pack.config.semantic_codec.hidden_size)
    return weight_bytes(pack, "codec_decoder"), flops(lambda: decoder(quantized))


def speaker(_pack: Pack, _n_features: int) -> float:
    """Operations of enrollment on a recording's features, without emotion: one small linear, counted as 0."""
    return 0.0
