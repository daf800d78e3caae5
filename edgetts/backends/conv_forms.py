"""Forms of a convolution of (B, T, C) on CUDA, and the choice among them by measurement.

In: an `nn.Conv1d` with stride 1, zero padding and one group, and how many samples it sees per mel frame. Out: the layer
in the form that is fastest on this device: its first one, unless another is faster by more than measurement noise. A
form is first compared with float32 products; one that is wrong or raises is left out.

For some shapes in some layouts a library has no algorithm on matrix units and takes one that is a hundred times slower.
For which, only running it says: on an H100 one convolution of BigVGAN took 47 of 58 ms.

It does not know which network it is in. Shapes: B batch, T time, C channels, K kernel.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgetts.backends.kernels.base import relative_error
from edgetts.backends.kernels.registry import seconds_each, seconds_launched

UNFOLDED_BYTES = 16 << 20
"""Of unfolded signal at a time. The whole is K times as large as the signal and would fill a small GPU."""
_MARGIN = 1.1  # a later form must be this many times as fast
# Largest relative error; float32 may be TF32 in `fast`. A defect exceeds them.
_TOLERANCES = {torch.float32: 2e-3, torch.float16: 5e-3, torch.bfloat16: 2e-2}
# What a library raises where a form does not work. Full memory is among them: another form may need less.
_REFUSALS = (RuntimeError, ValueError)

_log = logging.getLogger(__name__)


class ImageConv1d(nn.Module):
    """As a 2-D convolution of height 1 in channels-last memory, which is (B, T, C)."""

    form = "channels-last"
    weight: Tensor
    bias: Tensor | None

    def __init__(self, plain: nn.Conv1d) -> None:
        super().__init__()
        weight = plain.weight.detach().unsqueeze(2)  # (C', C, 1, K)
        self.register_buffer("weight", weight.to(memory_format=torch.channels_last))
        self.register_buffer("bias", None if plain.bias is None else plain.bias.detach())
        padding, dilation = _geometry(plain)
        self._padding, self._dilation = (0, padding), (1, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T', C')."""
        image = x.transpose(1, 2).unsqueeze(2)
        y = F.conv2d(image, self.weight, self.bias, 1, self._padding, self._dilation)
        return y.squeeze(2).transpose(1, 2).contiguous()


class SignalConv1d(nn.Module):
    """As a 1-D convolution of (B, C, T), with the signal transposed before and after."""

    form = "channels-first"
    weight: Tensor
    bias: Tensor | None

    def __init__(self, plain: nn.Conv1d) -> None:
        super().__init__()
        self.register_buffer("weight", plain.weight.detach().contiguous())
        self.register_buffer("bias", None if plain.bias is None else plain.bias.detach())
        self._padding, self._dilation = _geometry(plain)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T', C')."""
        # Contiguous: a transposed view would be taken for channels-last memory.
        y = F.conv1d(x.transpose(1, 2).contiguous(), self.weight, self.bias, 1, self._padding, self._dilation)
        return y.transpose(1, 2).contiguous()


class MatrixConv1d(nn.Module):
    """As a product of the signal's windows, (T', K C), with one matrix, in slices of UNFOLDED_BYTES."""

    form = "matrix product"
    weight: Tensor
    bias: Tensor | None

    def __init__(self, plain: nn.Conv1d) -> None:
        super().__init__()
        self.n_taps = plain.kernel_size[0]
        self.register_buffer("weight", plain.weight.detach().transpose(1, 2).flatten(1).contiguous())  # (C', K C)
        self.register_buffer("bias", None if plain.bias is None else plain.bias.detach())
        self._padding, self._dilation = _geometry(plain)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T', C')."""
        padded = F.pad(x, (0, 0, self._padding, self._padding)).contiguous()
        n_channels, matrix = x.shape[2], self.weight.t()
        n_times = padded.shape[1] - self._dilation * (self.n_taps - 1)
        y = x.new_empty(len(x), n_times, len(self.weight))
        step = max(1, UNFOLDED_BYTES // (matrix.shape[0] * x.element_size()))
        strides = (n_channels, self._dilation * n_channels, 1)
        for signal, result in zip(padded, y, strict=True):
            for start in range(0, n_times, step):
                n = min(step, n_times - start)
                windows = signal[start:].as_strided((n, self.n_taps, n_channels), strides).reshape(n, -1)
                out = result[start : start + n]
                if self.bias is None:
                    torch.mm(windows, matrix, out=out)
                else:
                    torch.addmm(self.bias, windows, matrix, out=out)
        return y


FORMS: tuple[Callable[[nn.Conv1d], nn.Module], ...] = (ImageConv1d, SignalConv1d, MatrixConv1d)  # preferred first


class FormChoice:
    """Chooses the form of each kind of convolution of one network on one device; each kind is measured once.

    frames: lengths of windows, in mel frames, that count alike. `seconds`: spent on choosing so far.
    """

    def __init__(self, frames: Sequence[int]) -> None:
        self.frames = tuple(sorted(frames))
        self.seconds = 0.0
        self._chosen: dict[tuple[Any, ...], Callable[[nn.Conv1d], nn.Module]] = {}

    @torch.no_grad()
    def __call__(self, plain: nn.Conv1d, samples_per_frame: int) -> nn.Module:
        """The layer in its form. Raises RuntimeError if no form computes it correctly."""
        kind = (*plain.weight.shape, *_geometry(plain), plain.bias is not None, plain.weight.dtype, samples_per_frame)
        if kind not in self._chosen:
            started = time.perf_counter()
            self._chosen[kind] = self._choose(plain, samples_per_frame)
            self.seconds += time.perf_counter() - started
        return self._chosen[kind](plain)

    def _choose(self, plain: nn.Conv1d, samples_per_frame: int) -> Callable[[nn.Conv1d], nn.Module]:
        weight = plain.weight
        generator = torch.Generator(weight.device).manual_seed(0)
        signals = [
            torch.randn(1, n * samples_per_frame, weight.shape[1], generator=generator, device=weight.device).to(weight)
            for n in self.frames
        ]
        expected = by_float32(plain, signals[0])
        works: dict[Callable[[nn.Conv1d], nn.Module], list[Callable[[], Tensor]]] = {}
        launched: dict[Callable[[nn.Conv1d], nn.Module], float] = {}
        problems: list[str] = []
        refusals: list[Exception] = []
        for make in FORMS:
            try:
                layer = make(plain)
                error = relative_error(layer(signals[0]), expected)
                if not error <= _TOLERANCES[weight.dtype]:  # NaN too
                    problems.append(f"{layer.form} is wrong by {error:.1e}")
                    continue
                works[make] = [lambda layer=layer, x=x: layer(x) for x in signals]  # type: ignore[misc]
                launched[make] = seconds_launched(works[make], weight.device)
            except _REFUSALS as refusal:
                works.pop(make, None)
                refusals.append(refusal)
                problems.append(str(refusal).strip().partition("\n")[0])
        if problems:
            _log.info("convolution %s %s: %s", tuple(weight.shape), weight.dtype, "; ".join(problems))
        if not launched:
            for full in (refusal for refusal in refusals if isinstance(refusal, torch.OutOfMemoryError)):
                raise full
            raise RuntimeError(f"no form of the convolution {plain} works: {'; '.join(problems)}")
        best = _fastest(launched)
        # Times of launches are enough to keep the first form. Graphs are slower to make and tell what a replay takes.
        return best if best is next(iter(launched)) else _fastest(_replayed(works, launched, weight.device))


def _replayed(
    works: Mapping[Any, list[Callable[[], Tensor]]], launched: Mapping[Any, float], device: torch.device
) -> dict[Any, float]:
    return {make: seconds_each(works[make], device) for make in launched}


def _fastest(seconds: Mapping[Any, float]) -> Any:
    """The first form, or a later one that is faster by _MARGIN."""
    best = next(iter(seconds))
    for make, taken in seconds.items():
        if taken * _MARGIN < seconds[best]:
            best = make
    return best


def by_float32(plain: nn.Conv1d, x: Tensor) -> Tensor:
    """The convolution of x (B, T, C) as K products in float32, by no convolution library: (B, T', C')."""
    padding, dilation = _geometry(plain)
    padded = F.pad(x.float(), (0, 0, padding, padding))
    n_taps = plain.kernel_size[0]
    n_times = padded.shape[1] - dilation * (n_taps - 1)
    taps = plain.weight.detach().float()
    y = padded.new_zeros(len(x), n_times, len(taps))
    for k in range(n_taps):
        y += padded[:, k * dilation : k * dilation + n_times] @ taps[:, :, k].t()
    return y if plain.bias is None else y + plain.bias.detach().float()


def forms_used(module: nn.Module) -> dict[str, int]:
    """Convolutions by form; empty where none was chosen, as on the CPU."""
    kinds = (ImageConv1d, SignalConv1d, MatrixConv1d)
    return dict(Counter(m.form for m in module.modules() if isinstance(m, kinds)))


def _geometry(plain: nn.Conv1d) -> tuple[int, int]:
    """Padding and dilation. Raises ValueError for a convolution that is not a plain one."""
    if plain.stride != (1,) or plain.groups != 1 or plain.padding_mode != "zeros" or isinstance(plain.padding, str):
        raise ValueError(f"{plain} is not a plain convolution: it needs stride 1, one group and zero padding")
    return plain.padding[0], plain.dilation[0]
