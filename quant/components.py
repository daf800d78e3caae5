"""Which network fills each component of a pack, and which published file its tensors come from.

One table; the networks themselves are in `edgetts.models`. What a component must hold is read off its
network, built without memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from edgetts.models import bigvgan, campplus, conditioning, gpt, repcodec, s2mel, vocoder, w2v_bert
from edgetts.pack.config import ModelConfig
from edgetts.pack.meta_init import init_on_meta

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Component:
    """`source`: key of the published file. `extras`: its tensors (fnmatch patterns) that no pack needs."""

    source: str
    build: Callable[[ModelConfig], nn.Module]
    extras: tuple[str, ...] = ()


NETWORKS: Mapping[str, Component] = {
    "semantic_encoder": Component(
        "w2vbert", lambda c: w2v_bert.SemanticEncoder(c.semantic_encoder), w2v_bert.EXPECTED_EXTRAS
    ),
    "codec_encoder": Component(
        "codec", lambda c: repcodec.SemanticCodecEncoder(c.semantic_codec), repcodec.EXPECTED_EXTRAS
    ),
    "quantizer": Component("codec", lambda c: repcodec.Quantizer(c.semantic_codec)),
    "speaker_encoder": Component(
        "campplus", lambda c: campplus.SpeakerEncoder(c.speaker_encoder), campplus.EXPECTED_EXTRAS
    ),
    "conditioning": Component("gpt", lambda c: conditioning.Conditioning(c.conditioning), conditioning.EXPECTED_EXTRAS),
    "gpt": Component("gpt", lambda c: gpt.GPT(c.gpt), gpt.EXPECTED_EXTRAS),
    "s2mel": Component("s2mel", lambda c: s2mel.S2Mel(c.s2mel), s2mel.EXPECTED_EXTRAS),
    "vocoder": Component("bigvgan", lambda c: vocoder.build_vocoder(c.vocoder), bigvgan.EXPECTED_EXTRAS),
}


def network_tensors(component: str, config: ModelConfig) -> dict[str, Tensor]:
    """Every tensor that the network of a component holds, without values."""
    return dict(init_on_meta(lambda: NETWORKS[component].build(config)).state_dict())


def network_shapes(component: str, config: ModelConfig) -> dict[str, Shape]:
    """Name and shape of every tensor that the network of a component holds."""
    return {name: tuple(value.shape) for name, value in network_tensors(component, config).items()}


def matrix_shapes(component: str, config: ModelConfig) -> dict[str, tuple[int | None, ...]]:
    """The same for the two components that are not networks; None is any size."""
    if component == "semantic_statistics":
        width = config.semantic_codec.hidden_size
        return {"mean": (width,), "std": (width,)}
    rows = sum(config.emotion.group_sizes)
    # The width is left open: the synthetic small checkpoints carry the published matrix, whose width is not theirs.
    return {"speaker_matrix": (rows, config.speaker_encoder.embedding_size), "emotion_matrix": (rows, None)}


def enrollment_notice(config: ModelConfig) -> str | None:
    """Why no recording can be enrolled with a pack of these dimensions, one sentence; None where all fits."""
    encoder, statistics = config.semantic_encoder.hidden_size, config.semantic_codec.hidden_size
    if encoder == statistics:
        return None
    return (
        f"No voice can be enrolled with this pack: its semantic encoder makes features {encoder} wide, and its "
        f"statistics and codec take {statistics}, so see whether w2v-bert-2.0, wav2vec2bert_stats.pt and the semantic "
        "codec of the checkpoint belong together."
    )


def component_problems(component: str, found: Mapping[str, Shape], config: ModelConfig) -> list[str]:
    """Every missing, unexpected and misshapen tensor of a component, one phrase each."""
    expected: dict[str, tuple[int | None, ...]] = (
        dict(network_shapes(component, config)) if component in NETWORKS else matrix_shapes(component, config)
    )
    problems = [f"missing tensor {name}" for name in expected if name not in found]
    problems += [f"unexpected tensor {name}" for name in found if name not in expected]
    for name, shape in expected.items():
        if name in found and not _same(shape, found[name]):
            wanted = ["any" if size is None else size for size in shape]
            problems.append(f"tensor {name} has shape {list(found[name])} instead of {wanted}")
    return problems


def _same(expected: tuple[int | None, ...], found: Shape) -> bool:
    return len(expected) == len(found) and all(e in (None, f) for e, f in zip(expected, found, strict=True))
