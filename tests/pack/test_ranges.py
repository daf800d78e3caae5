"""Every number of a model has a range, and what does not fit together is refused before a network is built."""

from __future__ import annotations

import dataclasses
import json
import random
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgetts.errors import PackError
from edgetts.families.indextts2.dims import IndexTTS2Config
from edgetts.families.indextts2.networks import NETWORKS
from edgetts.pack.config import VocoderConfig
from edgetts.pack.load import compare_shapes, open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pack.manifest import read_manifest
from edgetts.pack.meta_init import init_on_meta
from edgetts.pack.ranges import RANGES
from edgetts.pack.relations import model_problems, read_model
from edgetts.pack.strict import from_dict, to_dict

# The built-in model, with a vocoder of the published kind.
BUILTIN = dataclasses.replace(
    read_manifest(builtin_pack()).model,
    vocoder=VocoderConfig(
        n_mels=80,
        upsample_rates=(8, 8, 2, 2),
        upsample_kernel_sizes=(16, 16, 4, 4),
        upsample_initial_channel=192,
        resblock_kernel_sizes=(3, 7),
        resblock_dilation_sizes=((1, 3), (1, 3)),
        snake_logscale=True,
    ),
)


def table() -> dict[str, Any]:
    fresh: dict[str, Any] = json.loads(json.dumps(to_dict(BUILTIN)))
    return fresh


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the numbers stand."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path


def put(inner: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value


def refusal(path: tuple[Any, ...], value: Any) -> str:
    changed = table()
    put(changed, path, value)
    with pytest.raises(PackError) as caught:
        read_model(IndexTTS2Config, changed, what="The table")
    message = str(caught.value)
    assert message.startswith("The table is not usable: ") and message.endswith(".")
    return message


def number_fields(cls: type) -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    for name in (field.name for field in dataclasses.fields(cls)):
        for kind in _leaves(hints[name]):
            if dataclasses.is_dataclass(kind) and isinstance(kind, type):
                yield from number_fields(kind)
            elif kind in (int, float):
                yield name


def _leaves(hint: Any) -> list[Any]:
    inner = [a for a in typing.get_args(hint) if a is not Ellipsis]
    return [leaf for a in inner for leaf in _leaves(a)] if inner else [hint]


def test_every_number_has_a_range() -> None:
    names = set(number_fields(IndexTTS2Config))
    assert len(names) > 50 and names <= set(RANGES)


def test_the_models_that_there_are_are_possible(mini_pack: Any) -> None:
    assert model_problems(BUILTIN) == [] == model_problems(open_pack(mini_pack).config)
    assert read_model(IndexTTS2Config, table(), what="The table") == BUILTIN


@pytest.mark.parametrize("path", list(places(table())), ids=lambda p: ".".join(map(str, p)))
def test_impossible_values_are_refused_wherever_they_stand(path: tuple[Any, ...]) -> None:
    for value in (-1, 10**7, 10**18, 1e9, -1e-9, "1", None, True, [1], {}):
        if value is None and path[-1] in ("silence_code", "fmax"):
            continue
        assert str(path[0]) in refusal(path, value)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("speaker_encoder.block_layers", [10**39] * 50_000, "50000 entries"),
        ("audio.hop_length", 216, "not audio.hop_length 216"),
        ("audio.hop_length", 0, "16 to 16384"),
        ("audio.sample_rate", 1, "8000 to 192000"),
        ("audio.sample_rate", 22051, "multiple of 25"),
        ("audio.sample_rate", 44100, "mel_frames_per_code"),
        ("audio.n_fft", 128, "n_fft"),
        ("audio.fmax", 12_000, "fmax"),
        ("audio.fmin", 12_000.0, "fmin"),
        ("audio.n_mels", 64, "n_mels"),
        ("code_rate", 1e9, "5 to 200"),
        ("code_rate", 1e-9, "5 to 200"),
        ("code_rate", 25.0, "mel_frames_per_code"),
        ("silence_code", 512, "below semantic_codec.codebook_size"),
        ("semantic_encoder.layer_norm_eps", 0.0, "1e-12 to 0.01"),
        ("semantic_encoder.n_heads", 5, "multiple of the number of heads"),
        ("semantic_encoder.conv_kernel_size", 16, "odd numbers"),
        ("semantic_encoder.feature_dim", 161, "must be 160"),
        ("gpt.n_layers", 0, "1 to 128"),
        ("gpt.n_layers", 100_000, "1 to 128"),
        ("gpt.n_heads", 3, "multiple of the number of heads"),
        ("gpt.start_text_token", 1, "two of gpt.n_text_tokens"),
        ("gpt.stop_text_token", 74, "two of gpt.n_text_tokens"),
        ("gpt.stop_mel_token", 500, "gpt.n_mel_codes"),
        ("gpt.n_mel_codes", 600, "gpt.n_mel_codes"),
        ("gpt.n_conditioning_latents", 15, "n_conditioning_latents"),
        ("conditioning.model_dim", 128, "gpt.model_dim"),
        ("conditioning.emotion_perceiver.n_latents", 2, "one emotion"),
        ("conditioning.speaker_conformer.n_heads", 5, "speaker_conformer"),
        ("conditioning.emotion_perceiver.dim_context", 65, "emotion_perceiver"),
        ("s2mel.mel_frames_per_code", 1e6, "0.1 to 50"),
        ("s2mel.mel_frames_per_code", 2.0, "hop_length and code_rate"),
        ("s2mel.dit.n_heads", 5, "multiple of the number of heads"),
        ("s2mel.dit.style_dim", 100, "style_dim"),
        ("s2mel.dit.content_dim", 100, "content_dim"),
        ("s2mel.dit.time_frequency_dim", 255, "even"),
        ("s2mel.dit.wavenet.n_layers", 128, None),
        ("s2mel.latent_projection_dims", [256], "latent_projection_dims"),
        ("speaker_encoder.block_layers", [128, 128, 128], "add up"),
        ("speaker_encoder.block_dilations", [1, 2], "the same length"),
        ("emotion.group_sizes", [6] * 7, "8 numbers"),
        ("emotion.group_sizes", [6] * 65, "65 entries"),
        ("vocoder.upsample_rates", [8, 8, 2, 0], "1 to 256"),
        ("vocoder.upsample_rates", [8, 8, 4], "upsample_kernel_sizes"),
        ("vocoder.upsample_kernel_sizes", [16, 16, 4, 1], "exceed its rate"),
        ("vocoder.upsample_kernel_sizes", [16, 16, 4, 5], "exceed its rate"),
        ("vocoder.upsample_initial_channel", 100, "halved"),
        ("vocoder.resblock_kernel_sizes", [3, 7, 11], "the same length"),
        ("vocoder.resblock_kernel_sizes", [3, 8], "odd numbers"),
        ("vocoder.resblock_dilation_sizes", [[1, 3], [1, 0]], "1 to 64"),
    ],
)
def test_what_does_not_fit(path: str, value: Any, said: str | None) -> None:
    if said is None:  # allowed: the tensors will tell
        changed = table()
        put(changed, tuple(path.split(".")), value)
        read_model(IndexTTS2Config, changed, what="The table")
        return
    assert said in refusal(tuple(path.split(".")), value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), value=st.integers(1, 300) | st.floats(1e-6, 300, allow_nan=False))
@example(seed=755, value=1)  # the value that stands there
def test_what_is_accepted_can_be_built(seed: int, value: float) -> None:
    """One number changed: refused in a sentence, or networks come of it that can be compared with the file's
    tensors."""
    changed = table()
    put(changed, random.Random(seed).choice(list(places(changed))), value)
    try:
        model = read_model(IndexTTS2Config, changed, what="The table")
    except PackError:
        return
    pack = open_pack(builtin_pack())
    for component, network in NETWORKS.items():
        module = init_on_meta(lambda network=network: network.build(model))  # type: ignore[misc]
        expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        # The vocoder of the table is not the pack's own.
        same = to_dict(model) == to_dict(BUILTIN) and component != "vocoder"
        assert not same or not compare_shapes(expected, pack.shapes(component))


def test_reading_strictly_still_comes_first() -> None:
    with pytest.raises(PackError, match="missing key audio; missing key semantic_encoder"):
        read_model(IndexTTS2Config, {"code_rate": 50.0, "silence_code": None}, what="The table")
    assert from_dict(IndexTTS2Config, table(), what="The table") == BUILTIN
