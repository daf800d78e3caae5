"""Voice files of others: whatever is in them is one sentence, before anything large is made of it."""

from __future__ import annotations

import dataclasses
import json
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from edgetts.errors import VoiceError
from edgetts.pack.locate import builtin_pack
from edgetts.pack.manifest import read_manifest
from edgetts.voices.description import METADATA_KEY
from edgetts.voices.store import VoiceStore
from edgetts.voices.voice import Voice

MANIFEST = read_manifest(builtin_pack())
MODEL = MANIFEST.model
READY = builtin_pack() / next(iter(MANIFEST.ready_voices().values()))
TENSORS = ("conditioning_latents", "emotion_vector", "emotion_base", "style", "reference_codes", "reference_mel")
HASH = "0" * 64


def about(**changes: Any) -> dict[str, Any]:
    fields = {"format_version": 1, "encoder_id": MANIFEST.encoder_id, "seconds": 2.0, "name": "n", "notices": []}
    return {**fields, **changes}


def tensors(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    voice = Voice.load(READY)
    return {name: getattr(voice, name).contiguous() for name in TENSORS} | changes


def write(path: Path, values: dict[str, torch.Tensor], text: str | None = None) -> Path:
    save_file(values, path, {METADATA_KEY: json.dumps(about()) if text is None else text})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(VoiceError) as caught:
        Voice.load(path)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 1000 and str(path) in message
    return message


def test_what_is_written_here_is_a_voice(tmp_path: Path) -> None:
    voice = Voice.load(write(tmp_path / "v.safetensors", tensors()))
    voice.check_fits(MODEL)
    half = {n: t.half() if t.is_floating_point() else t.int() for n, t in tensors().items()}
    loaded = Voice.load(write(tmp_path / "h.safetensors", half))
    assert loaded.style.dtype == torch.float32 and loaded.reference_codes.dtype == torch.int64
    assert torch.equal(loaded.reference_codes, voice.reference_codes)


@pytest.mark.parametrize("name", TENSORS)
def test_number_formats_that_do_not_belong(name: str, tmp_path: Path) -> None:
    whole = name == "reference_codes"
    formats = [torch.float8_e4m3fn, torch.uint16, torch.complex64, torch.bool, torch.uint8]
    formats.append(torch.float32 if whole else torch.int64)
    for dtype in formats:
        value = tensors()[name].to(torch.float32).to(dtype)
        assert "unusable values" in refusal(write(tmp_path / "v.safetensors", tensors(**{name: value})))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, -1e7])
@pytest.mark.parametrize("name", [name for name in TENSORS if name != "reference_codes"])
def test_numbers_that_no_arithmetic_survives(name: str, value: float, tmp_path: Path) -> None:
    spoiled = tensors()[name].clone()
    spoiled.view(-1)[-1] = value
    assert f"{name} holds unusable values" in refusal(write(tmp_path / "v.safetensors", tensors(**{name: spoiled})))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("conditioning_latents", lambda t: t.repeat(1, 1000, 1)),  # 16 000 rows
        ("conditioning_latents", lambda t: t[:, :-1]),
        ("conditioning_latents", lambda t: t[:, :, :-1]),
        ("emotion_vector", lambda t: t[:, :-1]),
        ("emotion_base", lambda t: t.repeat(1, 2)),
        ("style", lambda t: t[:, :7]),
        ("reference_mel", lambda t: t[:, :79]),
        ("reference_mel", lambda t: t[:, :, :1].repeat(1, 1, 19_000)),
        ("reference_codes", lambda t: t[:, :1].repeat(1, 19_000)),
        ("reference_codes", lambda t: t + 512),
    ],
)
def test_sizes_that_are_not_the_models(
    name: str, change: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path
) -> None:
    value = change(tensors()[name]).contiguous()
    voice = Voice.load(write(tmp_path / "v.safetensors", tensors(**{name: value})))
    with pytest.raises(VoiceError, match=f"does not fit this pack: {name}.*enroll the recording again"):
        voice.check_fits(MODEL)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(about())[:-1] + ', "x": ' + "[" * 1000 + "]" * 1000 + "}",
        "[" * 100_000,
        json.dumps(about()).replace("2.0", "1" + "0" * 400),
        json.dumps(about()).replace("2.0", "1e999"),
        json.dumps(about()).replace("2.0", "NaN"),
        json.dumps(about(seconds=-1)),
        json.dumps(about(seconds=10**9)),
        json.dumps(about(seconds=True)),
        json.dumps(about(seconds="2")),
        json.dumps(about(format_version=True)),
        json.dumps(about(format_version=10**30)),
        json.dumps(about(encoder_id=None)),
        json.dumps(about(encoder_id="e" * 10_000)),
        json.dumps(about(name="n" * 100_000)),
        json.dumps(about(notices=["n"] * 10_000)),
        json.dumps(about(notices=["n" * 100_000])),
        json.dumps(about(notices=[1])),
        json.dumps(about(adapt_steps=1.5)),
        json.dumps(about(adapt_steps=-1)),
        json.dumps(about(name="\ud800")),
        " " * 1_000_000,
        "[]",
        "null",
        "",
    ],
    ids=lambda t: t[:30] + str(len(t)),
)
def test_descriptions(text: str, tmp_path: Path) -> None:
    refusal(write(tmp_path / "v.safetensors", tensors(), text))


def test_declared_sizes_are_never_allocated(tmp_path: Path) -> None:
    """Nothing is made of what a header says: the file is the bound."""
    good = write(tmp_path / "v.safetensors", tensors()).read_bytes()
    length = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8 : 8 + length])
    for change in ({"shape": [1, 10**9, 10**9]}, {"data_offsets": [0, 2**62]}, {"shape": [1] * 10_000}):
        text = json.dumps({**header, "style": header["style"] | change}).encode()
        path = tmp_path / "w.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + good[8 + length :])
        tracemalloc.start()
        refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
        tracemalloc.stop()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: write(path, tensors(), '{"x":' * 1000 + "1" + "}" * 1000),
        lambda path: write(path, tensors(style=torch.zeros(1, 3))),
        lambda path: write(path, tensors(style=tensors()["style"].to(torch.float8_e4m3fn))),
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: path.write_bytes(b""),
    ],
)
def test_a_bad_entry_of_the_cache_is_dropped_and_told(spoil: Callable[[Path], Any], tmp_path: Path) -> None:
    store = VoiceStore(tmp_path / "voices", tmp_path / "cache")
    voice = Voice.load(READY)
    assert store.remember(HASH, voice) is None
    (entry,) = store.cache_dir.iterdir()
    spoil(entry)
    notices: list[str] = []
    assert store.cached(HASH, voice.encoder_id, notices=notices, model=MODEL) is None
    assert len(notices) == 1 and not entry.exists()
    assert store.remember(HASH, voice) is None
    found = store.cached(HASH, voice.encoder_id, notices=notices, model=MODEL)
    assert found is not None and torch.equal(found.style, voice.style) and len(notices) == 1


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_mutated_voices(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Bits flipped in header and description, values and shapes changed: a voice that fits, or one sentence."""
    draw = random.Random(seed)
    path = tmp_path_factory.mktemp("v") / "v.safetensors"
    values = tensors()
    name = draw.choice(TENSORS)
    value = values[name]
    kind = draw.randrange(4)
    if kind == 0:
        value = value.repeat(*(draw.randint(1, 3) for _ in value.shape))
    elif kind == 1:
        value = value.view(*value.shape, 1) if draw.random() < 0.5 else value[0]
    elif kind == 2:
        value = value.to(draw.choice([torch.float16, torch.float64, torch.int8, torch.uint16, torch.bool, torch.int64]))
    else:
        value = value * draw.choice([0, -1, 1e3, 1e9])
    write(path, {**values, name: value.contiguous()})
    content = bytearray(path.read_bytes())
    for _ in range(draw.randint(0, 4)):
        content[draw.randrange(1500)] ^= 1 << draw.randrange(8)
    path.write_bytes(bytes(content))
    try:
        voice = Voice.load(path)
        voice.check(MANIFEST.encoder_id, MANIFEST.family)
        voice.check_fits(MODEL)
    except VoiceError as error:
        assert str(error).isprintable()
    else:
        assert dataclasses.replace(voice).conditioning_latents.shape == values["conditioning_latents"].shape
