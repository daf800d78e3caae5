"""Fast forms of the networks behind the codes: what replaces which layer, by how exact the result must be.

In: the vocoder and S2Mel as their own files build them, loaded. Out: the same objects with layers replaced.
Three ways to compute, chosen by name (`settings.Compute`):

- `reference`: the networks as they are, plain PyTorch in fp32.
- `exact`: fp32; layers are replaced by forms that differ in the order of sums only (`is_same_numbers`). The DiT
  becomes a `FastDiT`.
- `fast`: that in half precision where the machine has it (`device.fast_dtype`), fp32 at both ends: the state of
  the flow and the samples.

The networks do not know about it. What a machine lacks is left plain: `Prepared` says what was done.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgetts.models.bigvgan import AntiAliasedSnake, BigVGAN
from edgetts.models.s2mel import S2Mel
from edgetts.native.library import Library, find_library
from edgetts.runtime.activation import fused_snake
from edgetts.runtime.device import fast_dtype
from edgetts.runtime.fast_dit import FastDiT
from edgetts.runtime.packed import PackedConv1d, can_pack
from edgetts.runtime.settings import Compute

_FUSED_DTYPES = (torch.float32, torch.bfloat16)  # what the compiled activation takes


@dataclass(frozen=True)
class Prepared:
    """What was done to a network, for reports."""

    dtype: torch.dtype  # of most of its arithmetic
    fused_activations: int = 0
    packed_convolutions: int = 0


class FusedSnake(nn.Module):
    """`AntiAliasedSnake` by the compiled kernel, in one pass over memory: (B, C, T) -> (B, C, T)."""

    alpha: Tensor
    beta: Tensor

    def __init__(self, plain: AntiAliasedSnake, library: Library) -> None:
        super().__init__()
        self._library = library
        alpha, beta = plain.act()
        # Taken off the logarithmic scale once, and kept in fp32 whatever the signal is in: they are few.
        self.register_buffer("alpha", alpha.detach().float().contiguous())
        self.register_buffer("beta", beta.detach().float().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return fused_snake(
            x.contiguous(), self.alpha, self.beta, library=self._library, n_threads=torch.get_num_threads()
        )


class _Float32(nn.Module):
    """A layer that gets fp32 whatever comes, for the last ones before the samples."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.float())
        return y


class _Half(nn.Module):
    """A layer that gets its own type whatever comes, for the first one."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = layer
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.to(self.dtype))
        return y


def prepare_vocoder(vocoder: BigVGAN, compute: Compute, device: torch.device) -> Prepared:
    """Replace layers of a loaded vocoder in place; mel in and samples out stay fp32."""
    if compute == "reference":
        return Prepared(torch.float32)
    dtype = fast_dtype(device) if compute == "fast" else torch.float32
    library = find_library() if device.type == "cpu" and dtype in _FUSED_DTYPES else None
    n_fused = 0
    for name, layer in list(vocoder.named_modules()):
        if library is not None and isinstance(layer, AntiAliasedSnake):
            vocoder.set_submodule(name, FusedSnake(layer, library))
            n_fused += 1
    if dtype == torch.float32:
        return Prepared(dtype, n_fused)
    _lower(vocoder, dtype)
    n_packed = _pack_convolutions(vocoder, dtype)
    # The result has 16 bits or more, half precision 8 or 11: the last layers are cheap and stay whole.
    vocoder.set_submodule("activation_post", _Float32(_in_float32(vocoder.activation_post)))
    vocoder.set_submodule("conv_post", _Float32(_in_float32(vocoder.conv_post)))
    vocoder.set_submodule("conv_pre", _Half(vocoder.conv_pre, dtype))
    return Prepared(dtype, n_fused, n_packed)


def prepare_s2mel(s2mel: S2Mel, compute: Compute, device: torch.device) -> Prepared:
    """Replace the DiT of a loaded S2Mel in place; its inputs and outputs stay fp32."""
    if compute == "reference":
        return Prepared(torch.float32)
    dtype = fast_dtype(device) if compute == "fast" else torch.float32
    estimator = FastDiT(s2mel.cfm.estimator, dtype, device)
    s2mel.set_submodule("cfm.estimator", estimator)
    return Prepared(dtype, packed_convolutions=estimator.n_packed)


def is_same_numbers(compute: Compute) -> bool:
    """Whether results differ from the plain networks' by the order of sums at most."""
    return compute != "fast"


def _lower(vocoder: BigVGAN, dtype: torch.dtype) -> None:
    """Convert all but the last layers and what the fused activations keep."""
    last = (vocoder.activation_post, vocoder.conv_post)
    kept = {id(m) for root in last for m in root.modules()}
    for layer in vocoder.modules():
        if id(layer) in kept or isinstance(layer, FusedSnake):
            continue
        for name, parameter in list(layer.named_parameters(recurse=False)):
            setattr(layer, name, nn.Parameter(parameter.to(dtype), requires_grad=False))


def _in_float32(layer: nn.Module) -> nn.Module:
    return layer.float()


def _pack_convolutions(vocoder: BigVGAN, dtype: torch.dtype) -> int:
    """Convolutions of the residual blocks, nearly all of the work, in the CPU library's own layout."""
    if vocoder.conv_pre.weight.device.type != "cpu" or not can_pack(dtype):
        return 0
    n_packed = 0
    for name, layer in list(vocoder.resblocks.named_modules()):
        if type(layer) is nn.Conv1d:
            vocoder.resblocks.set_submodule(name, PackedConv1d(layer))
            n_packed += 1
    return n_packed
