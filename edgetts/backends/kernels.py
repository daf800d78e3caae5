"""Ways to multiply by a quantized weight, and which of them this machine can run.

In: a weight as the pack stores it (`Quantized`, (O, I)) and activations (R, I). Out: (R, O) in the type of the
activations. One entry of `KERNELS` per way and scheme, best first; `dequantize` is the reference and always works.
Nothing is decided by version numbers: `KernelChoice` runs a kernel once on a small weight of the same kind and
compares it with the reference. Decoding sends one row (or one per beam), prefill and the latent pass many: a
kernel that is made for few rows dequantizes for many.

Shapes: R rows, O outputs, I inputs, G values of a group.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgetts.decoding.settings import DEFAULT_COMPUTE, Compute
from edgetts.errors import EdgeTTSError, UsageError
from edgetts.native import linear as native
from edgetts.native.library import find_library
from edgetts.pack.schemes import NF4_LEVELS, SCHEMES, Quantized, int4_zero_points, layout_problem, unpack_nibbles

AUTO = "auto"
DEQUANTIZED = "dequantized"  # not a kernel: weights are dequantized when they are loaded, and stay so

_FEW_ROWS = 16  # up to here a kernel made for decoding beats dequantizing
_BLOCK_VALUES = 1 << 22  # dequantized at once
_PROBE_ROWS = (1, 3)
_PROBE_OUTPUTS = 64
_ATEN_INT8_STEP = 32  # inputs that its int8 kernel reads at once
_INT4_CENTER = 8  # ATen's int4 kernels count codes from the middle
_REFERENCE = "dequantize-per-call"
_ROUNDED = "native-int8"
# What libraries raise when a kernel, or the library itself, is not for this machine.
_REFUSALS = (ImportError, EdgeTTSError, RuntimeError, AttributeError, TypeError, ValueError, OSError)


@dataclass(frozen=True)
class Kernel:
    """`pack` makes what `multiply` wants, once, at load. `tolerance`: largest relative error against the reference."""

    name: str
    scheme: str
    devices: tuple[str, ...]
    tolerance: float
    pack: Callable[[Quantized], Any]
    multiply: Callable[[Any, Tensor, Tensor | None], Tensor]  # packed, x (R, I), bias (O,) -> (R, O)


@dataclass(frozen=True)
class Trial:
    """What came of running a kernel once. `problem`: why it is not used, or empty."""

    kernel: Kernel
    problem: str
    error: float  # relative to the reference; NaN when it did not run
    microseconds: float  # for one row of the small weight


# --- any device: the reference -------------------------------------------------------------------------


def _keep(weight: Quantized) -> Quantized:
    return weight


def _dequantize(weight: Quantized, x: Tensor, bias: Tensor | None) -> Tensor:
    """A few outputs at a time: the weight is never there as a whole."""
    n_outputs, n_inputs = weight.shape
    step = max(1, _BLOCK_VALUES // n_inputs)
    parts = []
    for start in range(0, n_outputs, step):
        rows = Quantized(
            weight.scheme,
            weight.group_size,
            (min(step, n_outputs - start), n_inputs),
            {name: part[start : start + step] for name, part in weight.parts.items()},
        )
        parts.append(F.linear(x, rows.decode(x.dtype)))
    y = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
    return y if bias is None else y + bias.to(y.dtype)


# --- CPU: our compiled kernels, ATen's -----------------------------------------------------------------


def _native_pack(weight: Quantized) -> native.Packed:
    library, threads = find_library(), torch.get_num_threads()
    if library is None:
        raise UsageError("the compiled kernels were not built")
    parts = weight.parts
    if weight.scheme == "int8_channel":
        return native.pack_int8(parts["codes"], parts["scales"], library=library, n_threads=threads)
    zeros = int4_zero_points(parts["zeros"])
    group = weight.group_size or 0
    return native.pack_int4(parts["codes"], parts["scales"], zeros, group, library=library, n_threads=threads)


def _native_multiply(activations: native.Activations) -> Callable[[Any, Tensor, Tensor | None], Tensor]:
    def multiply(packed: native.Packed, x: Tensor, bias: Tensor | None) -> Tensor:
        wide = x if x.dtype in (torch.float32, torch.bfloat16) else x.to(torch.float32)
        y = native.linear(
            packed,
            wide,
            None if bias is None else bias.to(torch.float32),
            activations=activations,
            n_threads=torch.get_num_threads(),
        )
        return y.to(x.dtype)

    return multiply


@dataclass(frozen=True)
class _Repacked:
    """A weight in a library's own layout, beside the stored one for many rows (the mapped file: no memory)."""

    tensors: tuple[Tensor, ...]
    stored: Quantized


def _for_few_rows(
    few: Callable[[_Repacked, Tensor], Tensor],
) -> Callable[[Any, Tensor, Tensor | None], Tensor]:
    def multiply(packed: _Repacked, x: Tensor, bias: Tensor | None) -> Tensor:
        if len(x) > _FEW_ROWS:
            return _dequantize(packed.stored, x, bias)
        y = few(packed, x).to(x.dtype)
        return y if bias is None else y + bias.to(y.dtype)

    return multiply


def _int4_scales_and_offsets(weight: Quantized, dtype: torch.dtype) -> Tensor:
    """(I / G, O, 2) as ATen's int4 kernels want them: value = (code - 8) * scale + offset."""
    scales = weight.parts["scales"].to(torch.float32)
    offsets = (_INT4_CENTER - int4_zero_points(weight.parts["zeros"])) * scales
    return torch.stack([scales.t(), offsets.t()], dim=-1).to(dtype).contiguous()


def _aten_int4_pack(weight: Quantized) -> _Repacked:
    codes = unpack_nibbles(weight.parts["codes"]).to(torch.int32)
    packed = torch._convert_weight_to_int4pack_for_cpu(codes, 1)
    return _Repacked((packed, _int4_scales_and_offsets(weight, torch.bfloat16)), weight)


def _aten_int4(packed: _Repacked, x: Tensor) -> Tensor:
    codes, scales = packed.tensors
    group = packed.stored.group_size or 0
    # bf16 whatever x is: ATen's kernels for the other types are not vectorized.
    return torch._weight_int4pack_mm_for_cpu(x.to(torch.bfloat16), codes, group, scales)


def _aten_int8_pack(weight: Quantized) -> _Repacked:
    if weight.shape[1] % _ATEN_INT8_STEP:  # it does not check, and reads beyond the weight
        raise UsageError(f"{weight.shape[1]} inputs are not a multiple of {_ATEN_INT8_STEP}")
    return _Repacked((weight.parts["codes"], weight.parts["scales"].to(torch.bfloat16)), weight)


def _aten_int8(packed: _Repacked, x: Tensor) -> Tensor:
    codes, scales = packed.tensors
    return torch._weight_int8pack_mm(x.to(torch.bfloat16), codes, scales)


# --- CUDA: Triton, tinygemm, bitsandbytes --------------------------------------------------------------


def _triton_int4(packed: _Repacked, x: Tensor) -> Tensor:
    from edgetts.backends import triton_kernels

    parts = packed.stored.parts
    return triton_kernels.int4_linear(x, parts["codes"], parts["scales"], parts["zeros"])


def _triton_int8(packed: _Repacked, x: Tensor) -> Tensor:
    from edgetts.backends import triton_kernels

    return triton_kernels.int8_linear(x, packed.stored.parts["codes"], packed.stored.parts["scales"])


def _triton_pack(weight: Quantized) -> _Repacked:
    return _Repacked((), weight)  # reads what is stored


def _tinygemm_pack(weight: Quantized) -> _Repacked:
    n_inputs = weight.shape[1]
    # The most tiles of 16 inputs that divide the width, so that 1280 stays 1280 instead of being padded to 2048.
    tiles = next((t for t in (8, 4, 2) if n_inputs % (16 * t) == 0), None)
    if tiles is None:
        raise UsageError(f"{n_inputs} inputs do not divide into tiles of 32")
    codes = weight.parts["codes"]
    high_first = (codes << 4) | (codes >> 4)  # its nibbles are the other way round
    packed = torch._convert_weight_to_int4pack(high_first, tiles)
    return _Repacked((packed, _int4_scales_and_offsets(weight, torch.bfloat16)), weight)


def _tinygemm(packed: _Repacked, x: Tensor) -> Tensor:
    codes, scales = packed.tensors
    return torch._weight_int4pack_mm(x.to(torch.bfloat16), codes, packed.stored.group_size or 0, scales)


def _bitsandbytes_pack(weight: Quantized) -> Any:
    from bitsandbytes.functional import QuantState

    codes = weight.parts["codes"]
    high_first = ((codes << 4) | (codes >> 4)).reshape(-1, 1)
    levels = torch.tensor(NF4_LEVELS, device=codes.device)
    state = QuantState(
        absmax=weight.parts["scales"].to(torch.float32).flatten(),
        shape=torch.Size(weight.shape),
        code=levels,
        blocksize=weight.group_size,
        quant_type="nf4",
        dtype=torch.float16,
    )
    return high_first, state


def _bitsandbytes(packed: Any, x: Tensor, bias: Tensor | None) -> Tensor:
    import bitsandbytes

    codes, state = packed
    half = None if bias is None else bias.to(torch.float16)
    y: Tensor = bitsandbytes.matmul_4bit(x.to(torch.float16), codes.t(), quant_state=state, bias=half)
    return y.to(x.dtype)


_EXACT, _BF16 = 1e-3, 1e-2  # largest relative error, by what the products are made in
_CPU, _CUDA, _ANY = ("cpu",), ("cuda",), ("cpu", "cuda")

KERNELS: tuple[Kernel, ...] = (
    Kernel("native", "int4_group", _CPU, _EXACT, _native_pack, _native_multiply(native.Activations.INT16)),
    Kernel("native", "int8_channel", _CPU, _EXACT, _native_pack, _native_multiply(native.Activations.INT16)),
    Kernel("aten", "int4_group", _CPU, _BF16, _aten_int4_pack, _for_few_rows(_aten_int4)),
    Kernel("aten", "int8_channel", _CPU, _BF16, _aten_int8_pack, _for_few_rows(_aten_int8)),
    Kernel("triton", "int4_group", _CUDA, _EXACT, _triton_pack, _for_few_rows(_triton_int4)),
    Kernel("triton", "int8_channel", _CUDA, _EXACT, _triton_pack, _for_few_rows(_triton_int8)),
    Kernel("tinygemm", "int4_group", _CUDA, _BF16, _tinygemm_pack, _for_few_rows(_tinygemm)),
    Kernel("bitsandbytes", "nf4_group", _CUDA, _BF16, _bitsandbytes_pack, _bitsandbytes),
    *(Kernel(_REFERENCE, scheme, _ANY, 0.0, _keep, _dequantize) for scheme in SCHEMES),
    # Activations in 8 bits: when asked for by name, and in the way to compute `fast`. Measured on an AVX-512 VNNI
    # processor: 0 to 7 % off a step of a stack of the published width at one row, 4 to 19 % at three. Its cost on the
    # built-in model, against the dequantized weights, over 245 codes and more: 99 to 100 % of greedy choices are the
    # same, and 2e-4 to 4e-4 nats of divergence a code (tests/backends/test_greedy_codes.py prints both).
    Kernel(_ROUNDED, "int4_group", _CPU, _BF16, _native_pack, _native_multiply(native.Activations.INT8)),
    Kernel(_ROUNDED, "int8_channel", _CPU, _BF16, _native_pack, _native_multiply(native.Activations.INT8)),
)


def kernel_names() -> tuple[str, ...]:
    """What can be asked for by name, besides AUTO and DEQUANTIZED."""
    return tuple(dict.fromkeys(kernel.name for kernel in KERNELS))


class KernelChoice:
    """Which kernel serves which kind of weight on one device; each is tried once.

    wanted: AUTO, or the name of a kernel, used for every scheme that it serves. compute: AUTO leaves out kernels
    that round activations to 8 bits, but for `fast`, which has them first. Raises UsageError for an unknown name,
    and, when a weight comes along, for a kernel that does not run here.
    """

    def __init__(self, device: torch.device, wanted: str = AUTO, compute: Compute = DEFAULT_COMPUTE) -> None:
        if wanted not in (AUTO, DEQUANTIZED, *kernel_names()):
            names = ", ".join((AUTO, DEQUANTIZED, *kernel_names()))
            raise UsageError(f"There is no kernel {wanted!r}: choose one of {names}.")
        self.device = device
        self.wanted = wanted
        self.compute = compute
        self._chosen: dict[tuple[Any, ...], Kernel] = {}

    def __call__(self, weight: Quantized) -> Kernel:
        """The kernel for a weight (O, I)."""
        # The number of outputs counts only by its remainder: some kernels want whole tiles.
        kind = (weight.scheme, weight.group_size, weight.shape[1], weight.shape[0] % _PROBE_OUTPUTS)
        if kind not in self._chosen:
            self._chosen[kind] = self._choose(weight)
        return self._chosen[kind]

    def _choose(self, weight: Quantized) -> Kernel:
        serving = [k for k in KERNELS if k.scheme == weight.scheme]
        if self.wanted not in (AUTO, DEQUANTIZED):
            named = [k for k in serving if k.name == self.wanted]
            if named:
                trial = try_kernel(named[0], weight, self.device)
                if trial.problem:
                    raise UsageError(f"The kernel {self.wanted} cannot be used for {weight.scheme}: {trial.problem}.")
                return named[0]
        if self.compute == "fast":
            serving.sort(key=lambda kernel: kernel.name != _ROUNDED)  # the others stay in their order
        for kernel in serving:
            if kernel.name == _REFERENCE or not try_kernel(kernel, weight, self.device).problem:
                return kernel
        raise RuntimeError(f"no reference kernel for {weight.scheme}")


def try_kernel(kernel: Kernel, weight: Quantized, device: torch.device) -> Trial:
    """Run a kernel on a small weight of the same kind and compare it with the reference."""
    nothing = float("nan")
    if device.type not in kernel.devices:
        return Trial(kernel, f"it runs on {' and '.join(kernel.devices)} only", nothing, nothing)
    try:
        small = _small_weight(weight, device)
        packed = kernel.pack(small)
        worst = 0.0
        for rows in _PROBE_ROWS:
            x = torch.randn(rows, small.shape[1], generator=torch.Generator().manual_seed(rows)).to(device)
            worst = max(worst, relative_error(kernel.multiply(packed, x, None), _dequantize(small, x, None)))
        started = time.perf_counter()
        kernel.multiply(packed, x[:1], None)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elapsed = (time.perf_counter() - started) * 1e6
    except _REFUSALS as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        return Trial(kernel, reason, nothing, nothing)
    if not worst <= kernel.tolerance:  # NaN too
        return Trial(kernel, f"it is wrong by {worst:.1e} of the result", worst, elapsed)
    return Trial(kernel, "", worst, elapsed)


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over norm of the expected."""
    wide = expected.to(torch.float64)
    return float((found.to(torch.float64) - wide).norm() / wide.norm().clamp_min(torch.finfo(torch.float32).tiny))


def _small_weight(weight: Quantized, device: torch.device) -> Quantized:
    """The first outputs of a weight, as many as leave the same remainder as all of them."""
    if layout_problem(weight.scheme, weight.group_size, weight.shape) is not None:
        raise UsageError("the weight is not sound")
    n_outputs = min(weight.shape[0], _PROBE_OUTPUTS + weight.shape[0] % _PROBE_OUTPUTS)
    parts = {name: part[:n_outputs].to(device).contiguous() for name, part in weight.parts.items()}
    return Quantized(weight.scheme, weight.group_size, (n_outputs, weight.shape[1]), parts)
