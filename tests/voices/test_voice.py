"""Voice files: the same numbers back, and a sentence for every way a file can be wrong."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from edgetts.errors import UsageError, VoiceError
from edgetts.voices.description import language_in
from edgetts.voices.voice import Voice


def make_voice(**changes: object) -> Voice:
    generator = torch.Generator().manual_seed(0)
    voice = Voice(
        conditioning_latents=torch.randn(1, 4, 8, generator=generator),
        emotion_vector=torch.randn(1, 8, generator=generator),
        emotion_base=torch.randn(1, 8, generator=generator),
        style=torch.randn(1, 6, generator=generator),
        reference_codes=torch.randint(0, 100, (1, 50), generator=generator),
        reference_mel=torch.randn(1, 80, 86, generator=generator),
        encoder_id="ab" * 32,
        seconds=1.0,
        name="Zoë",
        notices=("cut at 15 s",),
    )
    return dataclasses.replace(voice, **changes)  # type: ignore[arg-type]


def test_round_trip(tmp_path: Path) -> None:
    voice = make_voice()
    loaded = Voice.load(voice.save(tmp_path / "new folder" / "a.safetensors"))
    for field in dataclasses.fields(Voice):
        ours, theirs = getattr(voice, field.name), getattr(loaded, field.name)
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == ["a.safetensors"]


def adapted_voice() -> Voice:
    return make_voice(offsets=torch.randn(1, 30_000), adapted_to="ef" * 32, adapt_steps=40)


def test_what_a_voice_prints_as() -> None:
    assert repr(make_voice()) == "Voice('Zoë', 1.0 s of speech, encoders abababababab)"
    adapted = make_voice(offsets=torch.zeros(1, 4), adapt_steps=100)
    assert repr(adapted) == "Voice('Zoë', 1.0 s of speech, adapted in 100 steps, encoders abababababab)"


def test_an_adapted_voice_comes_back(tmp_path: Path) -> None:
    voice = adapted_voice()
    loaded = Voice.load(voice.save(tmp_path / "a.safetensors"))
    assert loaded.offsets is not None and voice.offsets is not None and torch.equal(loaded.offsets, voice.offsets)
    assert (loaded.adapted_to, loaded.adapt_steps) == (voice.adapted_to, 40)


def test_only_an_adapted_voice_needs_a_newer_reader(tmp_path: Path) -> None:
    for voice, version in ((make_voice(), 1), (adapted_voice(), 2)):
        with safe_open(voice.save(tmp_path / "a.safetensors"), framework="pt") as file:
            assert json.loads(file.metadata()["edgetts_voice"])["format_version"] == version


def test_a_voice_may_have_a_language(tmp_path: Path) -> None:
    path = dataclasses.replace(make_voice(), language="es").save(tmp_path / "a.safetensors")
    assert Voice.load(path).language == language_in(path) == "es"
    with safe_open(path, framework="pt") as file:  # an older reader would speak another language
        assert json.loads(file.metadata()["edgetts_voice"])["format_version"] == 4
    plain = make_voice().save(tmp_path / "b.safetensors")
    assert Voice.load(plain).language is None and language_in(plain) is None
    with pytest.raises(UsageError, match="language is 'xx'; allowed is one of en, zh"):
        dataclasses.replace(make_voice(), language="xx").save(tmp_path / "c.safetensors")
    plain.write_bytes(path.read_bytes().replace(b'\\"es\\"', b'\\"xx\\"'))
    for read in (Voice.load, language_in):
        with pytest.raises(VoiceError, match=r"b\.safetensors is damaged: its description has missing or wrong fields"):
            read(plain)
    plain.write_bytes(b"no voice")
    with pytest.raises(VoiceError, match="damaged or not a voice file"):
        language_in(plain)


def test_offsets_fit_the_s2mel_that_they_were_learned_with(tmp_path: Path) -> None:
    voice = adapted_voice()
    voice.check_adaptation("ef" * 32, 30_000)
    make_voice().check_adaptation("cd" * 32, 5)  # has none
    for s2mel_id, n_offsets in (("cd" * 32, 30_000), ("ef" * 32, 29_999)):
        with pytest.raises(VoiceError, match="adapted to another S2Mel.*enroll the recording again"):
            voice.check_adaptation(s2mel_id, n_offsets)
    path = dataclasses.replace(voice, offsets=torch.full((1, 3), float("inf"))).save(tmp_path / "bad.safetensors")
    with pytest.raises(VoiceError, match="offsets holds unusable"):
        Voice.load(path)
    path = dataclasses.replace(voice, offsets=torch.zeros(1, (1 << 20) + 1)).save(tmp_path / "long.safetensors")
    with pytest.raises(VoiceError, match="offsets has shape"):
        Voice.load(path)


def test_other_encoders_are_refused() -> None:
    make_voice().check("ab" * 32, "indextts-2")
    with pytest.raises(VoiceError, match="other encoders"):
        make_voice().check("cd" * 32, "indextts-2")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"emotion_vector": torch.full((1, 8), float("nan"))}, "emotion_vector holds unusable"),
        ({"reference_codes": torch.full((1, 3), -1)}, "reference_codes holds negative"),
        ({"reference_codes": torch.zeros(1, 3)}, "reference_codes holds unusable"),
        ({"style": torch.zeros(2, 6)}, "style has shape"),
        ({"reference_mel": torch.zeros(1, 80, 0)}, "reference_mel has shape"),
        ({"reference_mel": torch.zeros(1, 1, 20_001)}, "reference_mel has shape"),
    ],
)
def test_unusable_values_are_refused(tmp_path: Path, change: dict[str, torch.Tensor], sentence: str) -> None:
    path = make_voice(**change).save(tmp_path / "v.safetensors")
    with pytest.raises(VoiceError, match=sentence):
        Voice.load(path)


def test_foreign_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match="No such file"):
        Voice.load(tmp_path / "missing.safetensors")
    with pytest.raises(VoiceError, match="not a voice file"):
        Voice.load(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    with pytest.raises(VoiceError, match="safetensors file but not a voice"):
        Voice.load(foreign)
    good = make_voice().save(tmp_path / "good.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good[: len(good) // 2])
    with pytest.raises(VoiceError, match="damaged"):
        Voice.load(cut)


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    data = make_voice().save(tmp_path / "v.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    about = json.loads(header["__metadata__"]["edgetts_voice"])
    header["__metadata__"]["edgetts_voice"] = json.dumps({**about, "format_version": 99})
    text = json.dumps(header).encode()
    newer = tmp_path / "newer.safetensors"
    newer.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    with pytest.raises(VoiceError, match="format 99.*pip install -U edgetts-runtime"):
        Voice.load(newer)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_files_never_crash(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    content = bytearray(make_voice().save(folder / "v.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, min(1500, len(content) - 1)))] = data.draw(st.integers(0, 255))
    path = folder / "mutated.safetensors"
    path.write_bytes(bytes(content))
    try:
        Voice.load(path)
    except VoiceError as error:
        assert str(path) in str(error)
