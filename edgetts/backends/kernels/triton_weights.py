"""The Triton products as kernels of the registry. Triton may be missing: it is imported when a kernel is tried."""

from __future__ import annotations

from torch import Tensor

from edgetts.backends.kernels.base import CUDA, EXACT, Epilogue, Kernel, keep
from edgetts.pack.schemes import Quantized


def _int4(weight: Quantized, x: Tensor, epilogue: Epilogue) -> Tensor:
    from edgetts.backends.kernels.triton_int4 import int4_linear

    parts = weight.parts
    return int4_linear(x, parts["codes"], parts["scales"], parts["zeros"], epilogue)


def _int8(weight: Quantized, x: Tensor, epilogue: Epilogue) -> Tensor:
    from edgetts.backends.kernels.triton_int8 import int8_linear

    return int8_linear(x, weight.parts["codes"], weight.parts["scales"], epilogue)


def _multiply_int4(weight: Quantized, x: Tensor, bias: Tensor | None) -> Tensor:
    return _int4(weight, x, Epilogue(bias))


def _multiply_int8(weight: Quantized, x: Tensor, bias: Tensor | None) -> Tensor:
    return _int8(weight, x, Epilogue(bias))


KERNELS = (
    Kernel("triton", "int4_group", CUDA, EXACT, keep, _multiply_int4, rounds_to=None, fused=_int4),
    Kernel("triton", "int8_channel", CUDA, EXACT, keep, _multiply_int8, rounds_to=None, fused=_int8),
)
