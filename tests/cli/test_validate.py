"""`edgetts validate`: the table, the JSON and the exit code; and `edgetts convert`, which makes what it looks at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from helpers.command import Edgetts
from helpers.paths import GOLDEN
from safetensors.torch import load_file, save_file

from edgetts.pack.locate import builtin_pack
from edgetts.pack.manifest import read_manifest
from edgetts.quant.components import enrollment_notice


def test_passes(edgetts: Edgetts, mini_pack: Path) -> None:
    result = edgetts("validate", mini_pack, "--golden", GOLDEN, "--component", "vocoder")
    assert result.exit_code == 0, result.stderr
    assert "audio" in result.stdout
    assert "all 1 passed" in result.stdout


def test_fails(edgetts: Edgetts, mini_pack: Path, tmp_path: Path) -> None:
    golden = load_file(GOLDEN / "vocoder.safetensors")
    golden["audio"][..., 100] += 1.0
    save_file(golden, tmp_path / "vocoder.safetensors")
    result = edgetts("validate", mini_pack, "--golden", tmp_path, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["passed"] is False
    (row,) = report["rows"]
    assert (row["stage"], row["tensor"], row["passed"]) == ("vocoder", "audio", False)
    table = edgetts("validate", mini_pack, "--golden", tmp_path)
    assert table.exit_code == 1
    assert "FAILED" in table.stdout


def test_misuse(edgetts: Edgetts, mini_pack: Path, tmp_path: Path) -> None:
    for arguments in (
        ("validate", mini_pack, "--golden", tmp_path),
        ("validate", mini_pack, "--golden", GOLDEN, "--component", "tongue"),
    ):
        result = edgetts(*arguments)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1


def test_convert(edgetts: Edgetts, mini_checkpoint: Path, tmp_path: Path) -> None:
    result = edgetts("convert", mini_checkpoint, tmp_path / "fp16.pack", "--dtype", "fp16", "--json")
    assert result.exit_code == 0, result.stderr
    about = json.loads(result.stdout)
    assert Path(about["pack"]) == tmp_path / "fp16.pack"
    assert about["notice"].startswith("No voice can be enrolled with this pack")
    assert edgetts("info", tmp_path / "fp16.pack").exit_code == 0
    assert edgetts("convert", mini_checkpoint, tmp_path / "fp16.pack").exit_code == 2
    shutil.rmtree(tmp_path / "fp16.pack")
    (tmp_path / "empty").mkdir()
    result = edgetts("convert", tmp_path / "empty", tmp_path / "x.pack")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "x.pack").exists()


def test_statistics_that_do_not_fit_the_encoder_are_said(
    edgetts: Edgetts, mini_checkpoint: Path, tmp_path: Path
) -> None:
    for verb, *more in (("convert",), ("quantize", "--recipe", "cpu-arm64", "--no-report")):
        done = edgetts(verb, mini_checkpoint, tmp_path / verb, *more)
        assert done.exit_code == 0, done.stderr
        (notice,) = done.stderr.splitlines()
        assert (
            notice.startswith("note: No voice can be enrolled with this pack: ") and "wav2vec2bert_stats.pt" in notice
        )
        assert "makes features 64 wide, and its statistics and codec take 1024." in notice
        assert edgetts(verb, mini_checkpoint, tmp_path / verb, *more, "--force", "--quiet").stderr == ""
    assert enrollment_notice(read_manifest(builtin_pack()).model) is None
