"""Forms of a convolution: each computes it, and the one that is faster by a measurement is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgetts.backends import conv_forms
from edgetts.backends.conv_forms import FORMS, FormChoice, ImageConv1d, MatrixConv1d, SignalConv1d, forms_used
from edgetts.backends.kernels.base import relative_error


def convolution(
    inputs: int, outputs: int, kernel: int, dilation: int = 1, bias: bool = True, padding: int | None = None
) -> nn.Conv1d:
    torch.manual_seed(kernel)
    around = kernel // 2 * dilation if padding is None else padding
    plain = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=around, bias=bias)
    return plain.requires_grad_(False)


CASES = [
    convolution(8, 12, 3),
    convolution(8, 1, 7, bias=False),  # the last one of a vocoder
    convolution(5, 5, 11, dilation=5),
    convolution(4, 6, 1),
    convolution(4, 6, 5, dilation=2, padding=0),  # shorter than its input
    convolution(1, 3, 3, padding=4),  # longer
]


@pytest.mark.parametrize("buffer_bytes", [1, 700, 16 << 20])
@pytest.mark.parametrize("plain", CASES, ids=str)
def test_every_form_is_the_convolution(plain: nn.Conv1d, buffer_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch, of a signal that is a view, however the matrix product is sliced."""
    monkeypatch.setattr(conv_forms, "UNFOLDED_BYTES", buffer_bytes)
    wide = torch.randn(3, 29, 2 * plain.in_channels, generator=torch.Generator().manual_seed(0))
    for x in (wide[:1, :, : plain.in_channels].contiguous(), wide[..., : plain.in_channels], wide[:, ::2, ::2]):
        before = x.clone()
        expected = plain(x.transpose(1, 2)).transpose(1, 2)
        assert relative_error(conv_forms.by_float32(plain, x), expected) < 1e-6
        for form in FORMS:
            found = form(plain)(x)
            assert found.shape == expected.shape and found.is_contiguous()
            assert relative_error(found, expected) < 1e-6, form
        assert torch.equal(x, before)


def test_the_windows_of_the_product_stay_below_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = torch.addmm

    def addmm(bias: Tensor, windows: Tensor, matrix: Tensor, *, out: Tensor) -> Tensor:
        sizes.append(windows.nbytes)
        return real(bias, windows, matrix, out=out)

    monkeypatch.setattr(torch, "addmm", addmm)
    monkeypatch.setattr(conv_forms, "UNFOLDED_BYTES", 5000)
    MatrixConv1d(convolution(8, 12, 11))(torch.zeros(1, 300, 8))
    assert len(sizes) == 22 and max(sizes) <= 5000


def test_unusual_convolutions_have_no_form() -> None:
    for plain in (nn.Conv1d(4, 4, 3, stride=2), nn.Conv1d(4, 4, 3, groups=2), nn.Conv1d(4, 4, 3, padding="same")):
        for form in FORMS:
            with pytest.raises(ValueError, match="stride 1"):
                form(plain)


class Clock:
    """Seconds by form, launched and replayed; what was measured, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.launched: dict[Any, float] = {}
        self.replayed: dict[Any, float] = {}
        self.log: list[tuple[str, Any, list[int]]] = []
        monkeypatch.setattr(conv_forms, "seconds_launched", self.measure("launched"))
        monkeypatch.setattr(conv_forms, "seconds_each", self.measure("replayed"))

    def measure(self, how: str) -> Callable[..., float]:
        def seconds(works: list[Callable[[], Tensor]], device: torch.device) -> float:
            form = type(works[0].__defaults__[0])  # type: ignore[attr-defined]
            self.log.append((how, form, [work().shape[1] for work in works]))
            return float(getattr(self, how)[form])

        return seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def times(image: float, signal: float, matrix: float) -> dict[Any, float]:
    return {ImageConv1d: image, SignalConv1d: signal, MatrixConv1d: matrix}


def test_the_first_form_stays_unless_another_is_clearly_faster(clock: Clock) -> None:
    clock.launched = times(10.0, 9.5, 9.2)
    layer = FormChoice((2, 10))(CASES[0], 4)
    assert isinstance(layer, ImageConv1d)
    assert clock.log == [("launched", form, [8, 40]) for form in FORMS]  # no graph was made


@pytest.mark.parametrize(
    ("replayed", "chosen"),
    [
        (times(10.0, 3.0, 2.9), SignalConv1d),
        (times(10.0, 3.0, 2.0), MatrixConv1d),
        (times(1.0, 3.0, 2.0), ImageConv1d),  # what was slow was the launch
    ],
)
def test_graphs_decide_where_launches_say_that_another_is_faster(
    clock: Clock, replayed: dict[Any, float], chosen: Any
) -> None:
    clock.launched, clock.replayed = times(700.0, 9.0, 8.0), replayed
    choose = FormChoice((3,))
    first, second = choose(CASES[0], 1), choose(CASES[0], 1)
    assert type(first) is type(second) is chosen
    assert [how for how, *_ in clock.log] == ["launched"] * 3 + ["replayed"] * 3  # once
    assert choose.seconds > 0 and forms_used(nn.ModuleList([first, second])) == {chosen.form: 2}
    other = convolution(8, 12, 3, dilation=3)
    choose(other, 1)
    choose(CASES[0], 2)
    assert len(clock.log) == 18


def test_a_form_that_is_wrong_or_raises_is_left_out(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock.launched = clock.replayed = times(9.0, 5.0, 1.0)
    right = MatrixConv1d.forward
    monkeypatch.setattr(MatrixConv1d, "forward", lambda self, x: 1.02 * right(self, x))
    assert isinstance(FormChoice((3,))(CASES[0], 1), SignalConv1d)

    def refused(*_: Any) -> Tensor:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")

    monkeypatch.setattr(F, "conv2d", refused)
    assert isinstance(FormChoice((3,))(CASES[0], 1), SignalConv1d)
    monkeypatch.setattr(F, "conv1d", refused)
    with pytest.raises(RuntimeError, match="no form of the convolution.*NOT_SUPPORTED.*wrong by 2.0e-02"):
        FormChoice((3,))(CASES[0], 1)
    monkeypatch.setattr(MatrixConv1d, "forward", lambda self, x: right(self, x) * torch.nan)
    with pytest.raises(RuntimeError, match="wrong by nan"):
        FormChoice((3,))(CASES[0], 1)


def test_full_memory_stays_full_memory(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """`memory_in_words` tells what to do then. A form that needs less is taken."""

    def full(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    clock.launched = clock.replayed = times(9.0, 5.0, 8.0)
    monkeypatch.setattr(SignalConv1d, "forward", full)
    assert isinstance(FormChoice((3,))(CASES[0], 1), MatrixConv1d)
    for form in (ImageConv1d, MatrixConv1d):
        monkeypatch.setattr(form, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        FormChoice((3,))(CASES[0], 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_rounding_is_no_defect(clock: Clock, dtype: torch.dtype) -> None:
    clock.launched = clock.replayed = times(9.0, 5.0, 1.0)
    layer = FormChoice((40,))(convolution(64, 48, 11).to(dtype), 1)
    assert isinstance(layer, MatrixConv1d) and layer.weight.dtype == dtype
