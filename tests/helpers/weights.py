"""Checkpoints that cannot be opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from edgetts.errors import CheckpointError
from edgetts.quant.convert import open_checkpoint


def refusal(checkpoint: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(checkpoint)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 4000
    return str(caught.value)


def nested(depth: int) -> dict[str, Any]:
    table: dict[str, Any] = {"a": torch.zeros(1)}
    for _ in range(depth):
        table = {"a": table}
    return table
