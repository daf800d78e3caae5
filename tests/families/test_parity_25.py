"""The golden tensors of IndexTTS-2.5: every one within 1e-4 of its standard deviation, codes equal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers.mini_checkpoint import write_checkpoint_25
from helpers.paths import GOLDEN_25, SHARED

from edgetts.pack.load import open_pack
from edgetts.parity import validate
from edgetts.quant.convert import convert

# The pack of the tests has stand-ins for these matrices; `test_published_files` has the published ones.
NEEDS_PUBLISHED_FILES = {("conditioning", "emotion_indices"), ("conditioning", "emotion_matrix_vec")}
TOLERANCE = 1e-4
PUBLISHED_TEXT_TOKENS = 60_509
STAGES = ("conditioning", "gpt", "codec_decoder", "prompt_condition", "s2mel", "duration")
N_TENSORS = {"conditioning": 21, "gpt": 3, "duration": 6}


@pytest.mark.parametrize("stage", STAGES)
def test_every_golden_tensor(mini_pack_25: Path, stage: str) -> None:
    rows = validate(open_pack(mini_pack_25), GOLDEN_25, stage, tolerance=TOLERANCE)
    wrong = [r for r in rows if not r.passed and (r.stage, r.tensor) not in NEEDS_PUBLISHED_FILES]
    assert len(rows) >= N_TENSORS.get(stage, 1) and not wrong, wrong


def test_target_lengths(mini_pack_25: Path) -> None:
    """Upstream multiplies from left to right; another order gives other lengths in some of these."""
    config = open_pack(mini_pack_25).config
    cases = json.loads((GOLDEN_25 / "duration.json").read_text())
    found = [int(case["codes"] * config.s2mel.mel_frames_per_code * case["duration_factor"]) for case in cases]
    assert len(cases) > 200 and found == [case["target_length"] for case in cases]
    other = [int(2 * case["codes"] * (1.72 * case["duration_factor"])) for case in cases]
    assert found != other


@pytest.mark.slow
def test_published_files(tmp_path: Path) -> None:
    if SHARED is None or not (SHARED / "reference-2.5").is_dir():
        pytest.skip("needs the published matrices and vocabulary, which are not part of the project")
    checkpoint = write_checkpoint_25(tmp_path / "checkpoint", PUBLISHED_TEXT_TOKENS)
    for name in ("feat1.pt", "feat2.pt", "wav2vec2bert_stats.pt"):
        shutil.copy(SHARED / "reference" / "real" / name, checkpoint / name)
    vocabulary = "multilingual_zh_ja_yue_char_del.tiktoken"
    shutil.copy(SHARED / "reference-2.5" / "real" / vocabulary, checkpoint / vocabulary)
    pack = open_pack(convert(checkpoint, tmp_path / "pack").path)
    golden = SHARED / "reference-2.5" / "golden" / "mini"
    for stage in ("text", "frontend", "conditioning", "codec_stages", "pipeline"):
        rows = validate(pack, golden, stage, tolerance=TOLERANCE)
        assert rows and all(row.passed for row in rows), rows
