"""The kind of a vocoder is a fact of the pack: read strictly, written only where it is not what packs always had."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.istft_pack import ISTFT, istft_pack

from edgetts.errors import PackError
from edgetts.families.indextts2.dims import IndexTTS2Config
from edgetts.pack.checksum import sealed
from edgetts.pack.config import VOCODER_KINDS, IstftVocoderConfig, ModelConfig, VocoderConfig
from edgetts.pack.load import open_pack
from edgetts.pack.manifest import table_text
from edgetts.pack.strict import from_dict, to_dict


@pytest.fixture(scope="module")
def model(mini_pack: Path) -> ModelConfig:
    return open_pack(mini_pack).config


def read(model: ModelConfig, vocoder: Any) -> ModelConfig:
    return from_dict(IndexTTS2Config, to_dict(model) | {"vocoder": vocoder}, what="The table")


def refusal(model: ModelConfig, vocoder: Any) -> str:
    with pytest.raises(PackError) as caught:
        read(model, vocoder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_table_without_a_kind_is_a_bigvgan(model: ModelConfig) -> None:
    table = to_dict(model)["vocoder"]
    assert "kind" not in table and isinstance(model.vocoder, VocoderConfig)
    assert read(model, table) == model == read(model, {"kind": "bigvgan"} | table)


def test_the_other_kind_comes_back(model: ModelConfig) -> None:
    other = dataclasses.replace(model, vocoder=ISTFT)
    table = json.loads(json.dumps(to_dict(other)))
    assert table["vocoder"]["kind"] == "istft"
    assert from_dict(IndexTTS2Config, table, what="The table") == other
    assert {type(other.vocoder), type(model.vocoder)} == set(VOCODER_KINDS.values())


@pytest.mark.parametrize("kind", ["hifigan", "ISTFT", "", None, 1, ["istft"], {"istft": 1}])
def test_unknown_kinds_are_refused_with_the_known_ones(model: ModelConfig, kind: Any) -> None:
    message = refusal(model, to_dict(ISTFT) | {"kind": kind})
    assert "vocoder.kind must be one of bigvgan, istft" in message and repr(kind) in message


@pytest.mark.parametrize("vocoder", [None, 3, [], "istft"])
def test_a_vocoder_is_a_table(model: ModelConfig, vocoder: Any) -> None:
    assert "vocoder must be a table" in refusal(model, vocoder)


def test_keys_of_one_kind_are_unknown_to_the_other(model: ModelConfig) -> None:
    bigvgan = {k: v for k, v in to_dict(ISTFT).items() if k != "kind"}
    message = refusal(model, bigvgan)
    assert "unknown key vocoder.frames_per_mel" in message and "missing key vocoder.upsample_rates" in message
    message = refusal(model, to_dict(model)["vocoder"] | {"kind": "istft"})
    assert "unknown key vocoder.upsample_rates" in message and "missing key vocoder.pitch" in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hop_length": 0}, "vocoder.hop_length must be positive"),
        ({"n_layers": 0, "n_fft": 0}, "vocoder.n_fft must be positive; vocoder.n_layers must be positive"),
        ({"frames_per_mel": 3}, "hop_length 256 is no multiple of frames_per_mel 3"),
        ({"n_fft": 500}, "n_fft 500 is no multiple, from 3 on, of a step of 128"),
        ({"n_fft": 256}, "n_fft 256 is no multiple, from 3 on, of a step of 128"),
        ({"hop_length": 255, "frames_per_mel": 255, "n_fft": 4}, "n_fft 4 is no multiple"),
        ({"channels": "16"}, "vocoder.channels must be int"),
        ({"pitch": None}, "vocoder.pitch must be a table"),
        ({"pitch": to_dict(ISTFT.pitch) | {"lowest": 0.0}}, "vocoder.pitch.lowest must be positive"),
        ({"pitch": to_dict(ISTFT.pitch) | {"lowest": -1.0}}, "vocoder.pitch.lowest must be positive"),
        ({"pitch": to_dict(ISTFT.pitch) | {"highest": 1}}, "unknown key vocoder.pitch.highest"),
    ],
)
def test_dimensions_that_do_not_fit_are_refused(model: ModelConfig, changes: dict[str, Any], said: str) -> None:
    assert said in refusal(model, to_dict(ISTFT) | changes)


@pytest.mark.parametrize("n_fft", [384, 512, 1024])
def test_dimensions_that_fit(model: ModelConfig, n_fft: int) -> None:
    vocoder = read(model, to_dict(ISTFT) | {"n_fft": n_fft}).vocoder
    assert isinstance(vocoder, IstftVocoderConfig) and vocoder.n_fft == n_fft


def test_a_vocoder_of_other_frames_is_refused(mini_pack: Path, tmp_path: Path) -> None:
    """What the vocoder takes and what the pack's S2Mel makes must be the same."""
    pack = istft_pack(mini_pack, tmp_path / "pack")
    manifest = json.loads((pack / "manifest.json").read_text())
    manifest["model"]["vocoder"] |= {"hop_length": 512, "frames_per_mel": 4}
    (pack / "manifest.json").write_text(table_text(sealed(manifest)))
    with pytest.raises(PackError, match=r"vocoder.hop_length is 512.*audio.hop_length 256"):
        open_pack(pack)
