"""Writing one component as a `.safetensors` file, tensor by tensor.

In: lazy tensors by name, the dtype, and rules for schemes. Out: the file, with its size, its sha256 and the scheme of
every tensor, computed while it is written: at most one tensor is in memory. The layout is that of safetensors; tensors
are aligned to 64 bytes where their sizes allow.

Source: format description of the `safetensors` package.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from torch import Tensor

from edgetts.errors import PackError
from edgetts.pack.entries import ComponentEntry, FileEntry, SchemeGroup
from edgetts.pack.manifest import FORMAT
from edgetts.pack.schemes import SCHEMES, Quantized, layout_problem
from edgetts.quant.lazy import LazyTensor
from edgetts.quant.schemes import PLAIN, Encode, SchemeRule, round_to_nearest

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

MAX_SNR = 200.0  # dB, for tensors unchanged by quantization
_CHUNK_VALUES = 1 << 22  # values processed at once
_ALIGNMENT = 64  # bytes: a cache line
_FORMAT_NAMES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int8: "I8",
    torch.uint8: "U8",
}


@dataclass(frozen=True)
class _Part:
    """One stored tensor: a whole one, or a part of a quantized one (`part` is then not empty)."""

    tensor: str
    part: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.tensor}.{self.part}" if self.part else self.tensor

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class WrittenComponent:
    """A finished file. `digests`: sha256 of each tensor's float32 input values.

    `snr`: signal-to-quantization-noise ratio of each quantized tensor, in dB.
    """

    file: FileEntry
    digests: Mapping[str, str]
    snr: Mapping[str, float]


class TensorFilePlan:
    """How a component will be stored. `dtype`: one of DTYPES, see `stored_dtype`.

    The first matching rule quantizes a tensor. Raises PackError listing the tensors that a rule's scheme cannot store.
    """

    def __init__(
        self, component: str, tensors: Mapping[str, LazyTensor], dtype: str, rules: Sequence[SchemeRule] = ()
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r} is unknown; known are {', '.join(DTYPES)}")
        self.component = component
        self.tensors = tensors
        self.dtype = dtype
        self.rules: dict[str, SchemeRule] = {}  # by tensor
        parts: list[_Part] = []
        problems: list[str] = []
        for name, tensor in tensors.items():
            rule = next((r for r in rules if r.applies(name, tensor.shape, tensor.dtype)), None)
            if rule is None or rule.scheme == PLAIN:
                parts.append(_Part(name, "", stored_dtype(tensor, DTYPES[dtype]), tensor.shape))
                continue
            problem = layout_problem(rule.scheme, rule.group_size, tensor.shape)
            if problem is not None:
                problems.append(f"{name} {problem}")
                continue
            self.rules[name] = rule
            layout = SCHEMES[rule.scheme].layout(tensor.shape, rule.group_size)
            parts += [_Part(name, p, part_dtype, layout[p]) for p, part_dtype in SCHEMES[rule.scheme].parts.items()]
        if problems:
            raise PackError(f"{component} cannot be stored with these schemes: {'; '.join(problems)}.")
        # Multiples of the alignment first, then the rest by item size: every tensor starts aligned.
        self._parts = sorted(
            parts, key=lambda p: (p.n_bytes % _ALIGNMENT != 0, p.n_bytes % _ALIGNMENT and -p.dtype.itemsize, p.name)
        )

    @property
    def n_bytes(self) -> int:
        return sum(part.n_bytes for part in self._parts)

    def entry(self, file_name: str) -> ComponentEntry:
        """The manifest entry of the component, stored in `file_name`."""
        by_scheme: dict[tuple[str, int | None], list[str]] = {}
        for name, rule in self.rules.items():
            by_scheme.setdefault((rule.scheme, rule.group_size), []).append(name)
        groups = tuple(SchemeGroup(*scheme, tuple(names)) for scheme, names in by_scheme.items())
        return ComponentEntry(file_name, self.dtype, groups)

    def write(
        self,
        file: BinaryIO,
        *,
        digests: bool,
        progress: Callable[[int], None] | None = None,
        encode: Encode = round_to_nearest,
    ) -> WrittenComponent:
        """Write the component to an empty file. `progress`: called with the bytes of each tensor.

        `digests`: also hash the float32 input values. `encode` quantizes, except tensors that the source stores with
        the same scheme: they keep their codes. Raises PackError naming a tensor that is not finite or overflows the
        dtype.
        """
        header = self._header()
        total = hashlib.sha256(header)
        value_digests: dict[str, str] = {}
        snr: dict[str, float] = {}
        waiting: dict[str, Tensor] = {}  # further parts of the quantized tensor being written
        file.write(header)
        for part in self._parts:
            if part.name in waiting:
                stored = waiting.pop(part.name)
            else:
                value = self._value(part.tensor)
                if digests and part.tensor not in value_digests:
                    value_digests[part.tensor] = _digest(value)
                stored = self._stored(part, value, waiting, encode, snr)
            data = _bytes(stored)
            total.update(data)
            file.write(data)
            self.tensors[part.tensor].give_back()
            if progress is not None:
                progress(part.n_bytes)
        return WrittenComponent(FileEntry(len(header) + self.n_bytes, total.hexdigest()), value_digests, snr)

    def _value(self, name: str) -> Tensor:
        value = self.tensors[name].load()
        if tuple(value.shape) != self.tensors[name].shape:
            raise PackError(f"Tensor {name} of {self.component} changed its shape while it was written.")
        if value.is_floating_point():
            value = value.to(torch.float32)
            if not _is_finite(value):
                raise PackError(f"Tensor {name} of {self.component} holds NaN or infinity: the checkpoint is damaged.")
        return value

    def _stored(
        self, part: _Part, value: Tensor, waiting: dict[str, Tensor], encode: Encode, snr: dict[str, float]
    ) -> Tensor:
        if part.part:
            rule = self.rules[part.tensor]
            before = self.tensors[part.tensor].quantized
            if before is not None and (before.scheme, before.group_size) == (rule.scheme, rule.group_size):
                parts = before.parts  # re-quantizing would not give the same codes
            else:
                parts = encode(part.tensor, value, rule)
            snr[part.tensor] = _signal_to_noise(value, Quantized(rule.scheme, rule.group_size, part.shape, parts))
            waiting.update({f"{part.tensor}.{key}": parts[key] for key in parts if key != part.part})
            return parts[part.part]
        stored = value.to(part.dtype)
        if part.dtype == torch.float16 and not _is_finite(stored):
            raise PackError(
                f"Tensor {part.tensor} of {self.component} reaches {float(value.abs().max()):.3g}, more than float16 "
                "can hold: store it as float32 (dtype=)."
            )
        return stored

    def _header(self) -> bytes:
        table: dict[str, object] = {"__metadata__": {"format": FORMAT}}
        offset = 0
        for part in self._parts:
            table[part.name] = {
                "dtype": _FORMAT_NAMES[part.dtype],
                "shape": list(part.shape),
                "data_offsets": [offset, offset + part.n_bytes],
            }
            offset += part.n_bytes
        text = json.dumps(table, separators=(",", ":")).encode()
        text += b" " * (-(8 + len(text)) % _ALIGNMENT)
        return struct.pack("<Q", len(text)) + text


def stored_dtype(tensor: LazyTensor, dtype: torch.dtype) -> torch.dtype:
    """The stored dtype of a plain tensor in a component of dtype `dtype`.

    Matrices, convolutions and embeddings take `dtype`. Vectors (biases, norms, running statistics, SnakeBeta's
    exponents) stay float32: they are a thousandth of the bytes, and some overflow in half precision. Integers keep
    their dtype.
    """
    if not tensor.dtype.is_floating_point:
        return tensor.dtype
    return dtype if takes_dtype(tensor) else torch.float32


def takes_dtype(tensor: LazyTensor) -> bool:
    """Whether a plain tensor is stored in the dtype of its component."""
    return tensor.dtype.is_floating_point and len(tensor.shape) >= 2


def _signal_to_noise(value: Tensor, stored: Quantized) -> float:
    """Power of the values over power of the quantization error, in dB; some rows at a time."""
    signal = noise = 0.0
    step = max(1, _CHUNK_VALUES // max(1, value[0].numel()))
    for start in range(0, len(value), step):
        rows = value[start : start + step]
        parts = {name: part[start : start + step] for name, part in stored.parts.items()}
        decoded = Quantized(stored.scheme, stored.group_size, stored.shape, parts).decode()
        signal += float(rows.square().sum())
        noise += float((rows - decoded).square().sum())
    if signal == 0 or noise == 0:
        return MAX_SNR
    return min(MAX_SNR, 10 * math.log10(signal / noise))


def _is_finite(value: Tensor) -> bool:
    if value.numel() == 0:
        return True
    low, high = torch.aminmax(value)  # NaN propagates to both
    return bool(torch.isfinite(low) & torch.isfinite(high))


def _digest(value: Tensor) -> str:
    return hashlib.sha256(_bytes(value)).hexdigest()


def _bytes(value: Tensor) -> memoryview:
    """The bytes of a tensor, without a copy if it is contiguous."""
    array: Any = value.contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(array)
