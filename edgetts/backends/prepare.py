"""Optimized forms of S2Mel and the vocoder, by compute mode.

In: the vocoder and S2Mel, loaded. Out: what replaces them. The compute modes (`compute.Compute`):

- `reference`: the networks as they are, plain PyTorch in fp32.
- `exact`: fp32; results differ by the order of sums only. The DiT becomes a `FastDiT`, and BigVGAN
  a `FastVocoder` if a fused activation works here. The iSTFT vocoder stays as it is.
- `fast`: the same in half precision where the machine has it (`numbers`); the state of the flow and the audio stay
  fp32.

The networks do not know about it. Where the machine lacks support, a layer stays plain; `Prepared` reports what was
done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from edgetts.backends.activation import last_activation
from edgetts.backends.fast_dit import FastDiT, Velocity
from edgetts.backends.fast_vocoder import FastVocoder
from edgetts.backends.kernels import AUTO, dit_linear
from edgetts.backends.numbers import numbers_of
from edgetts.backends.replay import UnitRunner
from edgetts.compute import Compute
from edgetts.decoding.flow import Estimator, Preparable
from edgetts.models.dit import AdaLNModulation, DiT
from edgetts.models.istft_vocoder import IstftVocoder
from edgetts.models.s2mel import S2Mel
from edgetts.models.vocoder import Vocoder
from edgetts.pack.page_release import drop_weights


@dataclass(frozen=True)
class Prepared:
    """The optimizations of a network, for reports."""

    dtype: torch.dtype  # of most of its arithmetic
    fused_activations: int = 0
    packed_convolutions: int = 0


class _OwnDtype(nn.Module):
    """Casts the input to the layer's own dtype."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = layer
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.to(self.dtype))
        return y


def prepare_vocoder(
    vocoder: Vocoder, compute: Compute, device: torch.device, runner: UnitRunner | None = None
) -> tuple[nn.Module, Prepared]:
    """The optimized vocoder and a report; mel input and audio output stay fp32.

    runner: of whole windows. Do not use the argument `vocoder` afterwards: its layers may have been changed in place
    or emptied.
    """
    if compute == "reference":
        return vocoder, Prepared(torch.float32)
    dtype = numbers_of(device, compute).vocoder
    if isinstance(vocoder, IstftVocoder):
        return lower(vocoder, dtype), Prepared(dtype)
    activate = last_activation(device, dtype)
    if activate is not None:
        fast = FastVocoder(vocoder, dtype, activate, runner, drop_weights)
        return fast, Prepared(dtype, fast.n_fused, fast.n_packed)
    return lower(vocoder, dtype), Prepared(dtype)


def prepare_s2mel(
    s2mel: S2Mel, compute: Compute, device: torch.device, runner: UnitRunner | None = None, kernel: str = AUTO
) -> Prepared:
    """Replace the DiT of a loaded S2Mel in place; its inputs and outputs stay fp32.

    runner: of whole evaluations. kernel: a name as for the GPT, of which `kernels.W8A8` is for the DiT.
    """
    if compute == "reference":
        return Prepared(torch.float32)
    dtype = numbers_of(device, compute).dit
    estimator = FastDiT(s2mel.cfm.estimator, dtype, device, runner, dit_linear(kernel, device), drop_weights)
    s2mel.set_submodule("cfm.estimator", estimator)
    return Prepared(dtype, packed_convolutions=estimator.n_packed)


@dataclass(frozen=True)
class _AdaptedFastDiT:
    """A `FastDiT` with the offsets of one voice."""

    estimator: FastDiT
    offsets: AdaLNModulation

    def prepare(
        self, prompt: Tensor, style: Tensor, condition: Tensor, times: Sequence[float], start: int = 0
    ) -> Velocity:
        return self.estimator.prepare(prompt, style, condition, times, start, self.offsets)


def adapted(estimator: DiT | FastDiT, offsets: AdaLNModulation | None) -> Estimator | Preparable:
    """The estimator as the ODE solver calls it, with a voice's adaLN offsets in all guidance branches."""
    if offsets is None:
        return estimator
    if isinstance(estimator, FastDiT):
        return _AdaptedFastDiT(estimator, offsets)
    return partial(estimator, offsets=offsets)


def lower(vocoder: Vocoder, dtype: torch.dtype) -> Vocoder:
    """Convert a vocoder to `dtype` in place, except its last layers: audio needs more bits than half precision has.

    Of an iSTFT vocoder, the pitch and loudness networks stay in float32, too.
    """
    if dtype == torch.float32:
        return vocoder
    if isinstance(vocoder, IstftVocoder):
        vocoder.stack.to(dtype)
        vocoder.head.to(dtype)
        return vocoder
    for name, layer in list(vocoder.named_children()):
        is_last = layer in (vocoder.activation_post, vocoder.conv_post)
        layer.to(torch.float32 if is_last else dtype)
        if is_last or layer is vocoder.conv_pre:
            vocoder.set_submodule(name, _OwnDtype(layer, torch.float32 if is_last else dtype))
    return vocoder
