"""Checks that each component has all of its tensors, and that the components can enroll a voice together.

The networks themselves are in `edgetts.models`. The tensors that a component must have are those of its network, built
on the meta device.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from edgetts.errors import UsageError
from edgetts.models.registry import networks_of
from edgetts.pack.config import ModelConfig
from edgetts.pack.entries import VOICE_SUFFIX
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
    widths = _different_widths(config)
    if widths is None:
        return None
    return (
        f"No voice can be enrolled with this pack: {widths}. See whether w2v-bert-2.0, wav2vec2bert_stats.pt and the "
        "semantic codec of the checkpoint belong together."
    )


def check_voice(config: ModelConfig, voice: Path | None, ready: Collection[str] = ()) -> None:
    """Raise UsageError if calibration or the report would have to enroll a voice, and these dimensions cannot.

    voice: a recording or a voice file; None: the first of the ready voices, else a built-in recording.
    """
    widths = _different_widths(config)
    if widths is None or (ready if voice is None else voice.suffix == VOICE_SUFFIX):
        return
    raise UsageError(
        f"Calibration and the report need a voice, and this model cannot enroll a recording: {widths}. Give a voice "
        f"file ({VOICE_SUFFIX}) of a pack with the same encoders with voice=; or choose a recipe without gptq, and "
        "quantize without a report."
    )


def _different_widths(config: ModelConfig) -> str | None:
    encoder, statistics = config.semantic_encoder.hidden_size, config.semantic_codec.hidden_size
    if encoder == statistics:
        return None
    return f"its semantic encoder makes features {encoder} wide, and its statistics and codec take {statistics}"


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
