"""Lazy tensors of a checkpoint file, by name.

In: a file written by `torch.save` or safetensors. Out: `LazyTensor`s from the memory-mapped file. Pickles are opened
with `weights_only=True`, only in this module, and only after their archive was checked: no compressed entries (which
could expand to any size), and a bounded central directory. Only plain dense tensors are accepted. It does not know
networks.

Source: torch/serialization.py (the layout of the archive).
"""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from edgetts.errors import CheckpointError, PackError
from edgetts.pack import page_release as mapped
from edgetts.pack.header import tensor_header
from edgetts.pack.mapped_tensors import DTYPES
from edgetts.pack.plain_json import shown
from edgetts.quant.lazy import LazyTensor

MAX_DEPTH = 16  # nesting of tables
MAX_ENTRIES = 100_000  # the largest published file has some thousand
MAX_PICKLE_BYTES = 64 << 20  # names and shapes; the largest published one has less than 1 MB
MAX_DIRECTORY_BYTES = 64 << 20  # the archive's central directory
MAX_SMALL_BYTES = 1 << 30  # a file in the legacy format, which is read into memory
_ZIP_MAGIC = b"PK\x03\x04"  # the format since torch 1.6; only it can be mapped
_MAX_SHOWN = 10
SAFETENSORS_SUFFIX = ".safetensors"
_MAX_KEY_CHARS = 1000
# Keys and name prefixes that training wrappers add.
_WRAPPERS = ("state_dict", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.")
_DTYPES = {name: DTYPES[name] for name in ("F64", "F32", "F16", "BF16", "I64", "I32")}


def open_tensors(path: Path, unwrap: Sequence[str] = ()) -> dict[str, LazyTensor]:
    """Tensors of a file of either format; unwrap: as of `open_pickled`. Raises CheckpointError."""
    if path.suffix != SAFETENSORS_SUFFIX:
        return open_pickled(path, unwrap)
    tensors = open_safetensors(path)
    for wrapper in (*unwrap, *_WRAPPERS):
        prefix = f"{wrapper}."
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def open_safetensors(path: Path) -> dict[str, LazyTensor]:
    """Tensors of a safetensors file by name. Raises CheckpointError."""
    try:
        tensor_header(path)
        file: Any = safe_open(str(path), framework="pt", device="cpu")
        names = list(file.keys())
        slices = {name: file.get_slice(name) for name in names}
    except PackError as error:
        raise CheckpointError(f"{str(error).partition(';')[0]}; download it again.") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): download it again.") from error
    others = [f"{shown(n)}, of type {v.get_dtype()}" for n, v in slices.items() if v.get_dtype() not in _DTYPES]
    tensors = {n: _lazy_slice(file, n, view) for n, view in slices.items() if view.get_dtype() in _DTYPES}
    return _named(path, list(tensors.items()), others)


def open_pickled(path: Path, unwrap: Sequence[str] = ()) -> dict[str, LazyTensor]:
    """Tensors of a file written by `torch.save`, by dotted name.

    `unwrap`: keys to descend into first, if present, as are those of training wrappers, whose name prefixes are
    removed. Raises CheckpointError, also if the file holds anything but plain tensors.
    """
    value = load_pickled(path)
    for _ in range(MAX_DEPTH):
        inner = next((value[k] for k in (*unwrap, *_WRAPPERS) if isinstance(value, dict) and k in value), None)
        if not isinstance(inner, dict):
            break
        value = inner
    found: list[tuple[str, LazyTensor]] = []
    others: list[str] = []
    entries = _entries(value)
    if entries is None:
        raise CheckpointError(f"{path} is not the checkpoint file it should be: it has over {MAX_ENTRIES} entries.")
    for name, item in entries:
        problem = _strangeness(item)
        if problem is None:
            found.append((name, LazyTensor.of_file(item.detach())))
        else:
            others.append(f"{shown(name) if name else 'the file'}, {problem}")
    return _named(path, found, others)


def load_pickled(path: Path) -> Any:
    """What `torch.save` wrote, mapped where the format allows. Raises CheckpointError."""
    try:
        with path.open("rb") as file:
            is_archive = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
        if is_archive:
            check_archive(path)
        elif path.stat().st_size > MAX_SMALL_BYTES:
            raise CheckpointError(
                f"{path} is in the format before torch 1.6 and too large for it: load it with torch and save it again."
            )
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} cannot be read: it is damaged or holds more than tensors, and such a file is never run; "
            "download it again."
        ) from error
    except (
        *(OSError, RuntimeError, EOFError, ArithmeticError, MemoryError),
        *(ValueError, LookupError, TypeError, AttributeError, AssertionError),
    ) as error:
        reason = shown(str(error).splitlines()[0], 200) if str(error) else type(error).__name__
        raise CheckpointError(f"{path} cannot be read ({reason}): download it again.") from error


def check_archive(path: Path) -> None:
    """Raises CheckpointError for an archive that `torch.save` does not write: compressed, or a huge directory."""
    problem = None
    try:
        if _directory_bytes(path) > MAX_DIRECTORY_BYTES:
            problem = "its table of contents is huge"
        else:
            with zipfile.ZipFile(path) as archive:
                problem = next((p for p in map(_entry_problem, archive.infolist()) if p), None)
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
        problem = shown(str(error))
    if problem:
        raise CheckpointError(f"{path} is not a file that torch wrote ({problem}): download it again.")


def _entry_problem(entry: zipfile.ZipInfo) -> str | None:
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        return f"{shown(entry.filename)} in it is packed, to {entry.compress_size} of {entry.file_size} bytes"
    if entry.filename.endswith(".pkl") and entry.file_size > MAX_PICKLE_BYTES:
        return f"{shown(entry.filename)} in it has {entry.file_size} bytes"
    return None


def _directory_bytes(path: Path) -> int:
    """Size of an archive's central directory from its end record; zipfile reads it into memory."""
    record, record64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - record.size - 0xFFFF - 20 - record64.size))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise ValueError("it ends too early")
    n_bytes = record.unpack_from(tail, at)[5]
    at64 = tail.rfind(b"PK\x06\x06", 0, at)
    return int(record64.unpack_from(tail, at64)[8] if at64 >= 0 and n_bytes == 0xFFFFFFFF else n_bytes)


def _entries(value: Any) -> list[tuple[str, Any]] | None:
    """What tables inside tables hold, by dotted name, in order; None where there is no end of it."""
    found: list[tuple[str, Any]] = []
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    seen = 0
    while waiting:
        prefix, item, depth = waiting.pop()
        if not isinstance(item, dict) or depth >= MAX_DEPTH:
            found.append((prefix, item))
            continue
        seen += len(item) + 1
        if seen > MAX_ENTRIES:
            return None
        names = [(_unwrapped(str(key)[:_MAX_KEY_CHARS]), inner) for key, inner in item.items()]
        waiting += [(f"{prefix}.{n}" if prefix else n, inner, depth + 1) for n, inner in reversed(names)]
    return found


def _unwrapped(name: str) -> str:
    """A name without the prefixes of distributed training and `torch.compile`."""
    while (prefix := next((p for p in _PREFIXES if name.startswith(p)), None)) is not None:
        name = name.removeprefix(prefix)
    return name.replace("._orig_mod.", ".")


def _strangeness(value: Any) -> str | None:
    """Why a value cannot be a weight, or None for a plain dense tensor."""
    if not isinstance(value, torch.Tensor):
        return "tables nested too deep" if isinstance(value, dict) else f"a {type(value).__name__}"
    if value.device.type != "cpu":
        return f"a tensor without values (on the device {value.device})"
    if value.is_quantized:
        return "a quantized tensor"
    if value.is_nested or value.layout != torch.strided:
        return "a nested tensor" if value.is_nested else f"a tensor of layout {value.layout}"
    if value.dtype not in _DTYPES.values():
        return f"a tensor of type {value.dtype}"
    if value.is_neg() or value.is_conj():
        return "a tensor that is stored negated"
    return None


def _named(path: Path, found: Sequence[tuple[str, LazyTensor]], others: list[str]) -> dict[str, LazyTensor]:
    """Tensors by unwrapped names. Raises CheckpointError listing all problems."""
    tensors: dict[str, LazyTensor] = {}
    for name, tensor in found:
        known = _unwrapped(name)
        if known in tensors:
            others.append(f"{shown(known)} twice")
        tensors[known] = tensor
    if others or not tensors:
        more = f"; and {len(others) - _MAX_SHOWN} more" if len(others) > _MAX_SHOWN else ""
        what = "; ".join(others[:_MAX_SHOWN]) + more if others else "no tensors"
        raise CheckpointError(
            f"{path} is not the checkpoint file it should be: it holds {what}. Plain dense tensors are wanted: save it "
            "again as the model's `state_dict()`, or download it again."
        )
    return tensors


def _lazy_slice(file: Any, name: str, view: Any) -> LazyTensor:
    return LazyTensor(
        tuple(view.get_shape()),
        _DTYPES[view.get_dtype()],
        lambda: file.get_tensor(name),
        lambda: mapped.give_back(file.get_tensor(name)),  # maps the tensor again, without reading
    )
