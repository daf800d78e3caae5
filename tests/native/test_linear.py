"""int4 and int8 linear layers against the weight multiplied out in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edgetts.errors import UsageError
from edgetts.native.library import Isa, Library, find_library
from edgetts.native.linear import MANY_ROWS, Activations, Packed, dequantize, linear, pack_int4, pack_int8

LIBRARY = find_library()
ISAS: list[Isa | None] = [*LIBRARY.isas] if LIBRARY else []
LIBRARIES = [None] if LIBRARY is None else [None, LIBRARY]
GPT_SHAPES = [(3840, 1280), (1280, 1280), (5120, 1280), (1280, 5120)]
# float32: 1.4e-6 with the four lanes of NEON and 5120 inputs, where each partial sum is longest.
TOLERANCE = {Activations.FLOAT32: 2e-6, Activations.INT16: 3e-4, Activations.INT8: 1.5e-2}
compiled = pytest.mark.skipif(LIBRARY is None, reason="the compiled kernels were not built")


def int4(n_outputs: int, n_inputs: int, group: int, library: Library | None) -> tuple[Packed, Tensor]:
    """A packed weight and what it stands for, (O, I) float64."""
    generator = torch.Generator().manual_seed(n_outputs + group)
    codes = torch.randint(0, 16, (n_outputs, n_inputs), generator=generator, dtype=torch.uint8)
    scales = (torch.rand(n_outputs, n_inputs // group, generator=generator) * 0.01 + 0.001).half()
    zeros = (torch.rand(n_outputs, n_inputs // group, generator=generator) * 15).half()
    weight = (codes.view(n_outputs, -1, group).double() - zeros.double()[..., None]) * scales.double()[..., None]
    return pack_int4(codes, scales, zeros, group, library=library, n_threads=2), weight.view(n_outputs, n_inputs)


def int8(n_outputs: int, n_inputs: int, library: Library | None) -> tuple[Packed, Tensor]:
    generator = torch.Generator().manual_seed(n_outputs)
    codes = torch.randint(-128, 128, (n_outputs, n_inputs), generator=generator, dtype=torch.int8)
    scales = torch.rand(n_outputs, generator=generator) * 0.01
    return pack_int8(codes, scales, library=library), codes.double() * scales.double()[:, None]


def inputs(n_rows: int, n_inputs: int, activations: Activations = Activations.INT8) -> Tensor:
    """Activations, one of which is much larger, as in the residual stream of a GPT, unless 7 bits have to do."""
    x = torch.randn(n_rows, n_inputs, generator=torch.Generator().manual_seed(n_rows))
    if activations is not Activations.INT8:
        x[:, 3] *= 30
    return x


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("group", [32, 64, 128])
def test_weights_come_back_from_packing(library: Library | None, group: int) -> None:
    packed, weight = int4(50, 384, group, library)
    assert relative_error(dequantize(packed), weight) < 1e-7
    packed, weight = int8(50, 384, library)
    assert relative_error(dequantize(packed), weight) < 1e-7


def test_codes_may_come_two_in_a_byte_earlier_one_low() -> None:
    codes = torch.arange(64, dtype=torch.uint8).remainder(16).view(1, 64)
    scales, zeros = torch.ones(1, 2), torch.zeros(1, 2)
    nibbles = codes[:, 0::2] + 16 * codes[:, 1::2]
    for given in (codes, nibbles):
        for library in LIBRARIES:
            packed = pack_int4(given, scales, zeros, 32, library=library)
            assert torch.equal(dequantize(packed), codes.float())


@compiled
@pytest.mark.parametrize("activations", list(Activations), ids=lambda a: a.name)
@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 7])
def test_every_instruction_set_on_ragged_shapes(isa: Isa, activations: Activations, n_rows: int) -> None:
    bias = torch.randn(50, generator=torch.Generator().manual_seed(0))
    for group in (32, 64, 128):
        x = inputs(n_rows, 384, activations)
        for packed, weight in (int4(50, 384, group, LIBRARY), int8(50, 384, LIBRARY)):
            y = linear(packed, x, bias, activations=activations, n_threads=1, isa=isa)
            assert relative_error(y, x.double() @ weight.T + bias.double()) < TOLERANCE[activations]


@compiled
@pytest.mark.parametrize("n_rows", [1, 2, 7, 64, 300])
@pytest.mark.parametrize(("n_outputs", "n_inputs"), GPT_SHAPES)
def test_the_matrices_of_the_gpt(n_outputs: int, n_inputs: int, n_rows: int) -> None:
    n_outputs //= 10  # all inputs, a part of the outputs: each is a product of its own
    for packed, weight in (int4(n_outputs, n_inputs, 32, LIBRARY), int8(n_outputs, n_inputs, LIBRARY)):
        for activations in Activations:
            x = inputs(n_rows, n_inputs, activations)
            y = linear(packed, x, activations=activations, n_threads=2)
            assert relative_error(y, x.double() @ weight.T) < TOLERANCE[activations]


@pytest.mark.parametrize("n_rows", [1, 7, MANY_ROWS])
def test_the_pure_path(n_rows: int) -> None:
    x, bias = inputs(n_rows, 256), torch.randn(600)
    for packed, weight in (int4(600, 256, 64, None), int8(600, 256, None)):
        y = linear(packed, x, bias, activations=Activations.INT8, n_threads=1)
        assert relative_error(y, x.double() @ weight.T + bias.double()) < TOLERANCE[Activations.FLOAT32]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("n_rows", [2, MANY_ROWS])
def test_bfloat16_in_and_out_and_leading_dimensions(library: Library | None, n_rows: int) -> None:
    packed, weight = int4(48, 128, 32, library)
    x = inputs(n_rows, 128).bfloat16()
    bias = torch.randn(48)
    for activations in Activations:
        y = linear(packed, x.view(1, n_rows, 128), bias, activations=activations, n_threads=1)
        assert y.shape == (1, n_rows, 48) and y.dtype == torch.bfloat16
        assert relative_error(y[0], x.double() @ weight.T + bias.double()) < 1e-2


@compiled
def test_a_row_depends_neither_on_the_others_nor_on_threads() -> None:
    packed, _ = int4(400, 256, 64, LIBRARY)
    x = inputs(61, 256)
    whole = linear(packed, x, activations=Activations.INT16, n_threads=3)
    for i in (0, 30, 60):
        alone = linear(packed, x[i : i + 1], activations=Activations.INT16, n_threads=1)
        assert torch.equal(alone[0], whole[i])


@compiled
@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so_and_stays_in_its_row(isa: Isa, bad: float) -> None:
    packed, _ = int4(32, 128, 32, LIBRARY)
    x = inputs(2, 128)
    x[1, 77] = bad
    for activations in Activations:
        y = linear(packed, x, activations=activations, n_threads=1, isa=isa)
        assert torch.isfinite(y[0]).all() and not torch.isfinite(y[1]).any()


@compiled
def test_zeros_and_tiny_values() -> None:
    packed, weight = int4(32, 128, 32, LIBRARY)
    for size in (0.0, 1e-30, 1e30):
        x = inputs(1, 128) * size
        y = linear(packed, x, activations=Activations.INT16, n_threads=1)
        assert torch.allclose(y.double(), x.double() @ weight.T, rtol=1e-2, atol=1e-4 * size)


def test_what_cannot_be_packed_is_refused() -> None:
    codes, scales = torch.zeros(8, 64, dtype=torch.uint8), torch.ones(8, 2)
    with pytest.raises(UsageError, match="groups of 32, 64, 128"):
        pack_int4(codes, scales, scales, 16, library=None)
    with pytest.raises(UsageError, match="are uint8 of shape"):
        pack_int4(codes[:, :40], scales, scales, 32, library=None)
    with pytest.raises(UsageError, match="finite in float16"):
        pack_int4(codes, scales * 1e6, scales, 32, library=None)
    with pytest.raises(UsageError, match="multiple of 32"):
        pack_int8(torch.zeros(8, 40, dtype=torch.int8), torch.ones(8), library=None)


@compiled
def test_what_cannot_be_multiplied_is_refused() -> None:
    packed, _ = int8(16, 64, LIBRARY)
    with pytest.raises(UsageError, match="float16"):
        linear(packed, torch.zeros(1, 64, dtype=torch.float16), activations=Activations.INT8, n_threads=1)
