"""Structures that Python and the compiled kernels share, field by field as the C++ sources declare them.

The library reports the size of each (`edgetts_sizeof`); loading it compares them, so that a field added on one side
only is refused. Addresses are pointers into tensors that the caller keeps alive.
"""

from __future__ import annotations

import ctypes

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64


class Norm(ctypes.Structure):
    """`Norm` in src/gpt.cpp: weight and bias (C,) of a layer norm."""

    _fields_ = (("weight", _POINTER), ("bias", _POINTER))


class Linear(ctypes.Structure):
    """`Linear` in src/linear.h: a packed weight (n, k) and its bias (n,) or null."""

    _fields_ = (("packed", _POINTER), ("bias", _POINTER), *((name, _SIZE) for name in ("n", "k", "group", "bits")))


class Layer(ctypes.Structure):
    """`Layer` in src/gpt.cpp: one transformer block."""

    _fields_ = (
        ("before_attention", Norm),
        ("before_mlp", Norm),
        *((name, Linear) for name in ("qkv", "attention_out", "mlp_in", "mlp_out")),
    )


class GPTShape(ctypes.Structure):
    """`Shape` in src/gpt.cpp: sizes of a decoding step, and strides of the KV cache in elements."""

    _fields_ = tuple(
        (name, _SIZE)
        for name in (
            *("rows", "heads", "head_dim", "length"),
            *("layer_step", "value_step", "row_step", "head_step"),
        )
    )


class AttentionShape(ctypes.Structure):
    """`AttentionShape` in src/attention.cpp: sizes, and strides of frames and rows in elements."""

    _fields_ = tuple(
        (name, _SIZE)
        for name in (
            *("rows", "queries", "keys", "heads", "dim"),
            *("query_frame", "query_row", "key_frame", "key_row", "value_frame", "value_row"),
        )
    )


class ConvShape(ctypes.Structure):
    """`ConvShape` in src/conv.cpp: sizes of a one-dimensional convolution."""

    _fields_ = tuple(
        (name, _SIZE) for name in ("rows", "frames", "in_channels", "out_channels", "taps", "dilation", "padding")
    )


STRUCTURES: dict[str, type[ctypes.Structure]] = {
    "linear": Linear,
    "norm": Norm,
    "layer": Layer,
    "gpt_shape": GPTShape,
    "attention_shape": AttentionShape,
    "conv_shape": ConvShape,
}
"""By the name in `edgetts_sizeof_NAME`."""
