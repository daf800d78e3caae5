"""Tensors of a safetensors file, as views of the mapped file.

In: a path and its checked header. Out: tensors by name, without a copy. Each of them keeps the mapping alive.

As `safe_open(...).get_tensor`, but that one leaks the two offsets with every tensor (seen with safetensors 0.8, whose
slices never free their bounds): 64 KB for every voice that is learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgetts.pack.header import METADATA
from edgetts.pack.plain_json import InvalidJSON

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I8": torch.int8,
    "U8": torch.uint8,
}


class MappedTensors:
    """header: as of `header.read_header`. Raises OSError."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._entries = {name: entry for name, entry in header.items() if name != METADATA}
        size = path.stat().st_size
        self._file = torch.UntypedStorage.from_file(str(path), False, size)  # private: writes stay in memory
        # Data goes up to the end of the file, as safetensors makes sure.
        self._start = size - max((entry["data_offsets"][1] for entry in self._entries.values()), default=0)

    def tensor(self, name: str) -> Tensor:
        """Raises KeyError, and InvalidJSON for a number format that is not in DTYPES."""
        entry = self._entries[name]
        start, end = (self._start + offset for offset in entry["data_offsets"])
        dtype, shape = DTYPES.get(entry["dtype"]), entry["shape"]
        if dtype is None:
            raise InvalidJSON(f"tensor {name[:80]!r} has the unknown number format {entry['dtype']}")
        if start == end:
            return torch.empty(shape, dtype=dtype)
        return torch.asarray(self._file[start:end], dtype=torch.uint8).view(dtype).reshape(shape)
