"""What the compiled kernels give on this machine: kernel_outputs.py OUT.npz [OTHER.npz]

In: an installed edgetts with its kernels. Out: OUT.npz, an array for each kernel and instruction set, of inputs that
are the same on every machine; a line for each that says how far it is from the same kernel in plain C++ in OTHER.npz,
written on another machine. Exit code 1 where one is further off than its arithmetic allows, or is missing there.
Relative errors are norms: |found - expected| / |expected|.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from edgetts.native import frames
from edgetts.native.conv import PackedConv
from edgetts.native.library import Isa, Library, find_library
from edgetts.native.linear import Activations, linear, pack_int4, pack_int8

PLAIN = Isa.PORTABLE.name
# Sums are made in another order, and compilers contract other products; 8 and 15 bits also round the other way at ties.
ALLOWED = {"float32": 2e-6, "int8": 2e-2, "int16": 5e-4}
SHAPES = [(50, 384), (1280, 1280), (96, 2560)]  # outputs, inputs
ROWS = (1, 3, 17, 64)
CONVOLUTIONS = [(1, 33, 24, 24, 11, 5, 25), (2, 300, 48, 40, 7, 3, 9), (1, 257, 80, 96, 7, 1, 3)]


class Numbers:
    """Numbers that do not depend on a machine: of integers and of uniform numbers alone."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.from_numpy(self._generator.integers(low, high, shape).astype(np.int16))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.from_numpy((self._generator.random(shape) * (high - low) + low).astype(np.float32))


def outputs(library: Library) -> Iterator[tuple[str, Tensor]]:
    """(kernel: shape: arithmetic: instruction set, what it gives)."""
    numbers = Numbers(0)
    for n_out, n_in in SHAPES:
        weights = {"int8 weight": pack_int8(
            numbers.integers(-128, 128, n_out, n_in).to(torch.int8), numbers.uniform(0, 0.01, n_out), library=library
        )}  # fmt: skip
        for group in (32, 128):
            groups = (n_out, n_in // group)
            codes = numbers.integers(0, 16, n_out, n_in).to(torch.uint8)
            scales, zeros = numbers.uniform(0.001, 0.011, *groups), numbers.uniform(0, 15, *groups)
            weights[f"int4 weight in {group}s"] = pack_int4(codes, scales, zeros, group, library=library)
        for n_rows in ROWS:
            x = numbers.uniform(-1, 1, n_rows, n_in)
            for name, packed in weights.items():
                for activations in Activations:
                    for isa in library.isas:
                        key = f"{name}: {n_rows} x {n_in} x {n_out}: {activations.name.lower()}: {isa.name}"
                        yield key, linear(packed, x, None, activations=activations, n_threads=2, isa=isa)
    for batch, time, n_in, n_out, taps, dilation, padding in CONVOLUTIONS:
        weight, bias = numbers.uniform(-1, 1, n_out, n_in, taps), numbers.uniform(-1, 1, n_out)
        packed_conv = PackedConv.pack(library, weight, bias, dilation, padding)
        x = numbers.uniform(-1, 1, batch, time, n_in)
        for isa in library.isas:
            key = f"convolution: {batch} x {time} x {n_in}, {taps} taps: float32: {isa.name}"
            yield key, packed_conv(x, n_threads=2, isa=isa)
    x, conditions = numbers.uniform(-2, 2, 2, 37, 512), numbers.uniform(-1, 1, 1, 1, 1024)
    for isa in library.isas:
        yield (
            f"RMS norm: 2 x 37 x 512: float32: {isa.name}",
            frames.norm(library, x, conditions, 1e-5, n_threads=2, isa=isa),
        )
        yield f"SwiGLU: 2 x 37 x 512: float32: {isa.name}", frames.swiglu(library, x, n_threads=2, isa=isa)
        yield (
            f"gate: 2 x 37 x 512: float32: {isa.name}",
            frames.gate(library, x, conditions[..., :512].contiguous(), n_threads=2, isa=isa),
        )


def compare(found: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> list[str]:
    """Prints the largest error of each kernel, arithmetic and instruction set of `found` against plain C++ in `other`;
    what is wrong, a sentence each."""
    worst: dict[tuple[str, str, str], float] = {}
    wrong = []
    for key, array in found.items():
        kernel, shape, arithmetic, isa = key.split(": ")
        expected = other.get(": ".join((kernel, shape, arithmetic, PLAIN)))
        if expected is None or expected.shape != array.shape:
            wrong.append(f"{key}: the other machine has nothing to compare with")
            continue
        difference = array.astype(np.float64) - expected.astype(np.float64)
        error = float(np.linalg.norm(difference) / np.linalg.norm(expected.astype(np.float64)))
        group = (kernel, arithmetic, isa)
        worst[group] = max(worst.get(group, 0.0), error)
        if not error <= ALLOWED[arithmetic]:
            wrong.append(f"{key}: {error:.2g} from the other machine, allowed are {ALLOWED[arithmetic]:g}")
    for (kernel, arithmetic, isa), error in worst.items():
        print(f"  {kernel:22} {arithmetic:8} {isa:12} {error:.1e}")
    return wrong


def main() -> None:
    library = find_library()
    if library is None:
        sys.exit("edgetts has no compiled kernels here: `edgetts doctor` says why")
    found = {key: array.numpy() for key, array in outputs(library)}
    np.savez(sys.argv[1], **found)  # type: ignore[arg-type]
    sets = ", ".join(isa.name for isa in library.isas)
    print(f"{platform.machine()}: {len(found)} outputs, instruction sets {sets}")
    if len(sys.argv) > 2:
        with np.load(sys.argv[2]) as file:
            other = dict(file)
        print("this machine against plain C++ of the other:")
        wrong = compare(found, other)
        print("the other machine against plain C++ of this one:")
        wrong += compare(other, found)
        if wrong:
            sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
