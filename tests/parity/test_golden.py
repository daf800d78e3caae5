"""The whole golden set through a pack: every tensor within 1e-4, codes equal; and a check that can fail."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers.paths import GOLDEN, SHARED
from safetensors.torch import load_file, save_file

from edgetts.backends.numbers import numbers_of
from edgetts.compute import Compute
from edgetts.errors import UsageError
from edgetts.pack.load import open_pack
from edgetts.parity import TOLERANCES, Row, validate

# These need the published tokenizer and matrices, which cannot be copied here: the pack of the tests has
# stand-ins. `test_published_files` covers them where the reference data is at hand.
NEEDS_PUBLISHED_FILES = {("gpt_conditioning", "emotion_indices"), ("gpt_conditioning", "emotion_matrix_vec")}
TOLERANCE = 1e-4
STAGES = (
    *("frontend", "semantic_encoder", "speaker_encoder"),
    *("semantic_codec", "gpt_conditioning", "gpt", "s2mel", "vocoder"),
)


@pytest.mark.parametrize("stage", STAGES)
def test_every_golden_tensor(mini_pack: Path, stage: str) -> None:
    rows = validate(open_pack(mini_pack), GOLDEN, stage, tolerance=TOLERANCE)
    wrong = [r for r in rows if not r.passed and (r.stage, r.tensor) not in NEEDS_PUBLISHED_FILES]
    assert rows and not wrong, wrong


@pytest.mark.parametrize("stage", ["s2mel", "vocoder"])
@pytest.mark.parametrize("compute", ["reference", "fast"])
def test_other_ways_to_compute(mini_pack: Path, stage: str, compute: Compute) -> None:
    rows = validate(open_pack(mini_pack), GOLDEN, stage, compute=compute)
    assert rows and all(r.passed for r in rows), rows
    coarse = {r.tolerance > TOLERANCES["float32"] for r in rows}
    assert coarse == {compute == "fast" and numbers_of(torch.device("cpu"), "fast").dit != torch.float32}


def test_an_unknown_way_to_compute(mini_pack: Path) -> None:
    with pytest.raises(UsageError, match="Unknown compute mode 'magic'"):
        validate(open_pack(mini_pack), GOLDEN, "vocoder", compute="magic")  # type: ignore[arg-type]


def test_published_files(mini_checkpoint: Path, tmp_path: Path) -> None:
    if SHARED is None:
        pytest.skip("needs the published tokenizer and emotion matrices, which are not part of the project")
    from edgetts.quant.convert import convert

    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(mini_checkpoint, checkpoint)
    for name in ("bpe.model", "feat1.pt", "feat2.pt", "wav2vec2bert_stats.pt"):
        shutil.copy(SHARED / "reference" / "real" / name, checkpoint / name)
    pack = open_pack(convert(checkpoint, tmp_path / "pack").path)
    rows = [r for stage in ("text", "gpt_conditioning") for r in validate(pack, GOLDEN, stage, tolerance=TOLERANCE)]
    assert {(r.stage, r.tensor) for r in rows} >= NEEDS_PUBLISHED_FILES
    assert all(r.passed for r in rows), rows


def test_a_wrong_number_and_a_wrong_code_fail(mini_pack: Path, tmp_path: Path) -> None:
    golden = load_file(GOLDEN / "semantic_codec.safetensors")
    golden["codes"][0, 3] += 1
    golden["vq2emb"][0, 0, 0] += golden["vq2emb"].std() * 0.01
    save_file(golden, tmp_path / "semantic_codec.safetensors")
    rows = {r.tensor: r for r in validate(open_pack(mini_pack), tmp_path, tolerance=TOLERANCE)}
    assert not rows["codes"].passed and rows["codes"].error == 1
    assert not rows["vq2emb"].passed and rows["vq2emb"].error == pytest.approx(0.01, rel=0.05)
    assert rows["quantized"].passed


def test_nan_fails() -> None:
    assert not Row("s", "t", float("nan"), 1.0).passed


def test_a_wrong_shape_fails(mini_pack: Path, tmp_path: Path) -> None:
    golden = load_file(GOLDEN / "speaker_encoder.safetensors")
    golden["style"] = torch.cat([golden["style"], golden["style"]], dim=1)
    save_file(golden, tmp_path / "speaker_encoder.safetensors")
    (row,) = validate(open_pack(mini_pack), tmp_path)
    assert not row.passed and "golden (1, 384)" in row.detail


def test_misuse(mini_pack: Path, tmp_path: Path) -> None:
    pack = open_pack(mini_pack)
    with pytest.raises(UsageError, match="Unknown component 'gtp'"):
        validate(pack, GOLDEN, "gtp")
    with pytest.raises(UsageError, match="holds none of the golden files"):
        validate(pack, tmp_path)
    (tmp_path / "vocoder.safetensors").write_bytes(b"not a tensor file")
    with pytest.raises(UsageError, match="Cannot read the golden file"):
        validate(pack, tmp_path)


def test_texts_that_differ_are_counted(mini_pack: Path, tmp_path: Path) -> None:
    text = {"text": "", "normalized": "HELLO", "tokens": ["?"], "ids": [0], "segments_120": [], "segments_30": []}
    (tmp_path / "text.json").write_text(json.dumps([text]))
    rows = validate(open_pack(mini_pack), tmp_path)
    assert [r.error for r in rows] == [1, 1, 1, 1]
