"""Compile every Triton kernel for any GPU, present or not: `python compile_triton.py 90 bf16`, a line per kernel.

Run without TRITON_INTERPRET. The compiler and its assembler come with Triton, so errors of a GPU (an impossible tile
shape, a type without products) are found on any machine.
"""

from __future__ import annotations

import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from edgetts.backends.kernels import triton_common, triton_int4, triton_int8, triton_snake

THREADS = 32
BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
FLAGS = {"has_bias": True, "gelu": True, "has_residual": True}


def kernels(dtype: str) -> list[tuple[Any, dict[str, str], dict[str, Any]]]:
    """(function, types of pointers and floats, constants) as they are launched."""
    pointers = {"x": dtype, "y": dtype, "residual": dtype, "codes": "u8", "scales": "fp16", "zeros": "u8"}
    pointers |= {"bias": "fp32", "parts": "fp32", "alpha": "fp32", "gain": "fp32"}
    types = {f"{name}_ptr": f"*{kind}" for name, kind in pointers.items()}
    int8 = {**types, "codes_ptr": "*i8", "scales_ptr": "*fp32"}
    taps = {f"{phase}{i}": "fp32" for phase in "ud" for i in range(6)}
    found = [(triton_common._sum_kernel, types, {**FLAGS, "block": 256})]
    for n in (1, 2, 4):
        found.append((triton_int4._few_kernel, types, {**FLAGS, "half_group": 16, "n": n, "block": 16, "groups": 4}))
        found.append((triton_int8._few_kernel, int8, {**FLAGS, "n": n, "block": 16, "width": 128}))
    for n_rows in (16, 300):
        tiles = {**FLAGS, "block": triton_common.DOT_OUTPUTS, "wide": False}
        for half in (16, 64):
            n = triton_common.dot_rows(n_rows, half * BYTES[dtype])
            found.append((triton_int4._many_kernel, types, {**tiles, "n": n, "half_group": half}))
        n = triton_common.dot_rows(n_rows, triton_int8._DOT_WIDTH)
        found.append((triton_int8._many_kernel, int8, {**tiles, "n": n, "width": triton_int8._DOT_WIDTH}))
    for block in (16, 128):
        constants = {"stretches": 128 // block, "block": block, "at_once": triton_snake._AT_ONCE}
        found.append((triton_snake._snake_kernel, {**types, **taps}, constants))
    return found


def main() -> None:
    capability, dtype = int(sys.argv[1]), sys.argv[2]
    for function, types, constants in kernels(dtype):
        names = function.arg_names
        signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
        values = {(names.index(name),): value for name, value in constants.items()}
        source = ASTSource(fn=function, signature=signature, constexprs=values)
        made = triton.compile(source, target=GPUTarget("cuda", capability, THREADS))
        print(function.__name__, len(made.asm["cubin"]), "bytes,", made.metadata.shared, "shared")


if __name__ == "__main__":
    main()
