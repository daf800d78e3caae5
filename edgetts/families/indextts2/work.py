"""Counts operations and bytes of the parts that only IndexTTS-2 has, for `edgetts.bench.work`."""

from __future__ import annotations

from edgetts.bench.counting import flops, meta, on_meta, weight_bytes
from edgetts.models import registry
from edgetts.pack.load import Pack


def features(pack: Pack, n_prefix: int, n_codes: int) -> tuple[float, float]:
    """(bytes, operations) of S2Mel's input: the second GPT pass over prefix and codes, and the projection."""
    config = pack.config
    gpt, s2mel = on_meta(registry.GPT, config), on_meta(registry.LATENT_S2MEL, config)
    dim = config.gpt.model_dim
    done = flops(lambda: gpt(meta(1, n_prefix + n_codes, dim)))
    done += flops(lambda: s2mel.project_latents(meta(1, n_codes, dim)))
    return weight_bytes(pack, "gpt") + weight_bytes(pack, "s2mel", "gpt_layer."), done


def speaker(pack: Pack, n_features: int) -> float:
    """Operations of enrollment on a recording's features: codec encoder and conditioning latents, without emotion."""
    config = pack.config
    codec, conditioning = on_meta(registry.CODEC_ENCODER, config), on_meta(registry.SPEAKER_CONDITIONING, config)
    heard = meta(1, n_features, config.semantic_codec.hidden_size)
    return flops(lambda: codec(heard)) + flops(lambda: conditioning.speaker_latents(heard))
