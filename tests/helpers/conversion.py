"""Changes checkpoints, and returns the error of their conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgetts.errors import CheckpointError
from edgetts.quant.convert import convert


def refusal(checkpoint: Path, target: Path | None = None) -> str:
    target = target or checkpoint.parent / "pack"
    with pytest.raises(CheckpointError) as error:
        convert(checkpoint, target)
    assert not target.exists()
    assert not list(target.parent.glob(".*partial*"))
    return str(error.value)


def change_tensors(path: Path, change: Any) -> None:
    if path.suffix == ".safetensors":
        tensors = load_file(path)
        change(tensors)
        path.unlink()
        save_file(tensors, path)
        return
    value = torch.load(path, weights_only=True)
    change(value)
    path.unlink()
    torch.save(value, path)
