"""Fast forms of the networks behind the codes: what replaces which layer, by how exact the result must be.

In: the vocoder and S2Mel as their own files build them, loaded. Out: what takes their place.
Three ways to compute, chosen by name (`settings.Compute`):

- `reference`: the networks as they are, plain PyTorch in fp32.
- `exact`: fp32; forms that differ in the order of sums only (`is_same_numbers`). The DiT becomes a `FastDiT`, a BigVGAN
  a `FastVocoder` where an activation in one pass runs. A vocoder at the frame rate is fast as it is.
- `fast`: that in half precision where the machine has it (`numbers`), fp32 at both ends: the state of
  the flow and the samples.

The networks do not know about it. What a machine lacks is left plain: `Prepared` says what was done.
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
from edgetts.backends.numbers import numbers_of
from edgetts.decoding.flow import Estimator, Preparable
from edgetts.decoding.settings import Compute
from edgetts.models.dit import AdaLNModulation, DiT
from edgetts.models.istft_vocoder import IstftVocoder
from edgetts.models.s2mel import S2Mel
from edgetts.models.vocoder import Vocoder


@dataclass(frozen=True)
class Prepared:
    """What was done to a network, for reports."""

    dtype: torch.dtype  # of most of its arithmetic
    fused_activations: int = 0
    packed_convolutions: int = 0


class _Whole(nn.Module):
    """A layer that computes in its own type whatever comes."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = layer
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.to(self.dtype))
        return y


def prepare_vocoder(vocoder: Vocoder, compute: Compute, device: torch.device) -> tuple[nn.Module, Prepared]:
    """The vocoder in the form that computes so, and what was done; mel in and samples out stay fp32.

    What is given must not be used any more: its layers may have been changed.
    """
    if compute == "reference":
        return vocoder, Prepared(torch.float32)
    dtype = numbers_of(device, compute).vocoder
    if isinstance(vocoder, IstftVocoder):
        return lower(vocoder, dtype), Prepared(dtype)
    activate = last_activation(device, dtype)
    if activate is not None:
        fast = FastVocoder(vocoder, dtype, activate)
        return fast, Prepared(dtype, fast.n_fused, fast.n_packed)
    return lower(vocoder, dtype), Prepared(dtype)


def prepare_s2mel(s2mel: S2Mel, compute: Compute, device: torch.device) -> Prepared:
    """Replace the DiT of a loaded S2Mel in place; its inputs and outputs stay fp32."""
    if compute == "reference":
        return Prepared(torch.float32)
    dtype = numbers_of(device, compute).dit
    estimator = FastDiT(s2mel.cfm.estimator, dtype, device)
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
    """The estimator as the flow's solver calls it, with what a voice adds to its conditions in all branches."""
    if offsets is None:
        return estimator
    if isinstance(estimator, FastDiT):
        return _AdaptedFastDiT(estimator, offsets)
    return partial(estimator, offsets=offsets)


def is_same_numbers(compute: Compute) -> bool:
    """Whether results differ from the plain networks' by the order of sums at most."""
    return compute != "fast"


def lower(vocoder: Vocoder, dtype: torch.dtype) -> Vocoder:
    """Convert all but the last layers, in place: the result has 16 bits or more, half precision 8 or 11, and they are
    cheap. Of a vocoder at the frame rate pitch and loudness stay exact, too."""
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
            vocoder.set_submodule(name, _Whole(layer, torch.float32 if is_last else dtype))
    return vocoder
