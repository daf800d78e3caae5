"""Whether the tensors of each component are all there.

The networks themselves are in `edgetts.models`. What a component must hold is read off its
network, built without memory.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from edgetts.models.registry import networks_of
from edgetts.pack.config import ModelConfig
from edgetts.pack.meta_init import init_on_meta

Shape = tuple[int, ...]


def network_tensors(component: str, config: ModelConfig) -> dict[str, Tensor]:
    """Every tensor of a component's network, without values."""
    return dict(init_on_meta(lambda: networks_of(config)[component].build(config)).state_dict())


def network_shapes(component: str, config: ModelConfig) -> dict[str, Shape]:
    """Name and shape of every tensor of a component's network."""
    return {name: tuple(value.shape) for name, value in network_tensors(component, config).items()}


def matrix_shapes(component: str, config: ModelConfig) -> dict[str, tuple[int | None, ...]]:
    """As `network_shapes`, for the two components that are not networks; None: any size."""
    if component == "semantic_statistics":
        width = config.semantic_codec.hidden_size
        return {"mean": (width,), "std": (width,)}
    rows = sum(config.emotion.group_sizes)
    # Any width: small synthetic checkpoints have the published matrix, which has another width.
    return {"speaker_matrix": (rows, config.speaker_encoder.embedding_size), "emotion_matrix": (rows, None)}


def enrollment_notice(config: ModelConfig) -> str | None:
    """Why recordings cannot be enrolled with these dimensions, as a sentence; None if they can."""
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
        dict(network_shapes(component, config))
        if component in networks_of(config)
        else matrix_shapes(component, config)
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
