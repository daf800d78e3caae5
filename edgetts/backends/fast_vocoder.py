"""BigVGAN optimized for inference: the same network with less memory traffic, in any dtype.

In: a loaded `BigVGAN` and an activation for (B, T, C). Out: a module with the same call. The signal stays in (B, T, C):
there oneDNN's convolutions are two to four times faster for the few channels of the late stages, half precision on CUDA
is fastest, and the anti-aliased activation is one pass over memory. A transposed convolution becomes an ordinary one
whose output channels are the samples between two frames; reshaping puts them in order without a copy.

The last activation and convolution stay in fp32: audio has 16 bits or more, half precision has 8 or 11.
It does not know pipelines and windows. Shapes: B batch, T time, C channels, M mels, S samples.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgetts.backends.activation import LastActivation
from edgetts.backends.conv_forms import FormChoice
from edgetts.backends.prepacked_conv import CompiledConv1d, PrepackedConv1d, prepacked
from edgetts.backends.replay import Replays, UnitRunner
from edgetts.models.bigvgan import AntiAliasedSnake, BigVGAN, ResidualBlock

WINDOW_BUCKET = 64
"""Frames. A window is extended by earlier frames to a multiple of this; its own samples do not change."""

# Every length that is replayed, from the first window of a speech to one with all around it: a library's choice may be
# bad at one of them only.
_MEASURED_FRAMES = tuple(range(WINDOW_BUCKET, 5 * WINDOW_BUCKET + 1, WINDOW_BUCKET))


class FastVocoder(nn.Module):
    """`BigVGAN.forward`, for inference. `n_fused`: fused activations. `n_packed`: prepacked convolutions.

    On CUDA each convolution has a form of its own (`conv_forms`); `choice_s`: seconds that choosing them took.
    """

    def __init__(
        self,
        plain: BigVGAN,
        dtype: torch.dtype,
        activate: LastActivation,
        runner: UnitRunner | None = None,
        taken: Callable[[nn.Module], None] | None = None,
    ) -> None:
        """runner: replays whole windows whose length is a multiple of `WINDOW_BUCKET`; None: nothing is replayed.

        taken: called with each part of `plain` whose weights are not needed any more.
        """
        super().__init__()
        self._replays: Replays[int, WindowUnit] | None = None if runner is None else Replays(runner)
        self.dtype = dtype
        choose, samples_per_frame = FormChoice(_MEASURED_FRAMES), 1
        self._before = _convolution(plain.conv_pre, dtype, choose, samples_per_frame)
        self._stages = nn.ModuleList()
        for i, ups in enumerate(plain.ups):
            blocks = plain.resblocks[i * plain.n_blocks : (i + 1) * plain.n_blocks]
            stage = _Stage(ups, blocks, dtype, activate, taken, choose, samples_per_frame)
            samples_per_frame = stage.samples_per_frame
            self._stages.append(stage)
        self._last_activation = _Activation(plain.activation_post, activate)
        self._after = _convolution(plain.conv_post, torch.float32, choose, samples_per_frame)
        self.n_fused = sum(isinstance(m, _Activation) for m in self.modules())
        self.choice_s = choose.seconds
        self.n_packed = sum(isinstance(m, CompiledConv1d | PrepackedConv1d) for m in self.modules())

    @property
    def length_bucket(self) -> int:
        """Windows are computed fastest where they are a multiple of this many frames."""
        return 1 if self._replays is None else WINDOW_BUCKET

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel (B, M, T) -> waveform (B, S) fp32, clamped to [-1, 1]."""
        if self._replays is not None and len(mel) == 1 and mel.shape[-1] % WINDOW_BUCKET == 0:
            unit = self._replays.get(mel.shape[-1], lambda _: WindowUnit(self.compute, mel))
            if unit is not None:
                unit.mel.copy_(mel)
                if self._replays.run(unit):
                    return unit.waveform.clone()
        return self.compute(mel)

    def compute(self, mel: Tensor) -> Tensor:
        """As `forward`, without replays."""
        x: Tensor = self._before(mel.to(self.dtype).transpose(1, 2).contiguous())  # (B, T, C)
        for stage in self._stages:
            x = stage(x)
        waveform: Tensor = self._after(self._last_activation(x.float()))  # (B, S, 1)
        return waveform.squeeze(2).clamp(-1.0, 1.0)


class WindowUnit:
    """A replayable unit: frames of a window to its waveform."""

    def __init__(self, compute: Callable[[Tensor], Tensor], mel: Tensor) -> None:
        self._compute = compute
        self.mel = mel.clone()
        self.waveform = torch.zeros_like(compute(mel))

    def __call__(self) -> None:
        self.waveform.copy_(self._compute(self.mel))

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return {"mel": self.mel, "waveform": self.waveform}


class _Stage(nn.Module):
    """(B, T, C) -> (B, rate T, C / 2): upsampling, then the mean of the residual blocks."""

    def __init__(
        self,
        ups: nn.Module,
        blocks: nn.ModuleList,
        dtype: torch.dtype,
        activate: LastActivation,
        taken: Callable[[nn.Module], None] | None,
        choose: FormChoice,
        samples_per_frame: int,
    ) -> None:
        """samples_per_frame: of its input; as an attribute, of its output."""
        super().__init__()
        assert isinstance(ups, nn.ModuleList)
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        for up in ups:
            upsampling = _Upsampling(up, dtype, choose, samples_per_frame)
            samples_per_frame *= upsampling.rate
            self.ups.append(upsampling)
            if taken is not None:
                taken(up)
        for block in blocks:
            self.blocks.append(_Block(block, dtype, activate, choose, samples_per_frame))
            if taken is not None:
                taken(block)
        self.samples_per_frame = samples_per_frame

    def forward(self, x: Tensor) -> Tensor:
        for up in self.ups:
            x = up(x)
        total: Tensor = self.blocks[0](x)
        for block in self.blocks[1:]:
            total += block(x)
        return total.div_(len(self.blocks))


class _Block(nn.Module):
    def __init__(
        self,
        plain: nn.Module,
        dtype: torch.dtype,
        activate: LastActivation,
        choose: FormChoice,
        samples_per_frame: int,
    ) -> None:
        super().__init__()
        assert isinstance(plain, ResidualBlock)
        pairs = zip(plain.convs1, plain.convs2, strict=True)
        self.convolutions = nn.ModuleList(
            _convolution(c, dtype, choose, samples_per_frame) for pair in pairs for c in pair
        )
        self.activations = nn.ModuleList(_Activation(activation, activate) for activation in plain.activations)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(0, len(self.convolutions), 2):
            y = self.convolutions[i](self.activations[i](x))
            x = self.convolutions[i + 1](self.activations[i + 1](y), x)
        return x


class _Activation(nn.Module):
    """`AntiAliasedSnake` of (B, T, C) in one pass over memory."""

    alpha: Tensor
    gain: Tensor

    def __init__(self, plain: nn.Module, activate: LastActivation) -> None:
        super().__init__()
        assert isinstance(plain, AntiAliasedSnake)
        self._activate = activate
        alpha, beta = plain.act()
        # Exponentiated once, and kept in fp32 whatever the signal's dtype: they are small.
        self.register_buffer("alpha", alpha.detach().float().contiguous())
        self.register_buffer("gain", beta.detach().float().reciprocal().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self._activate(x, self.alpha, self.gain)
        return y


class _Upsampling(nn.Module):
    """A transposed convolution as an ordinary one: (B, T, C) -> (B, rate T, C').

    Polyphase form: sample p of frame q is a sum over the frames around q with its own taps, so the `rate` samples of
    a frame are the channels (p, C') of a convolution over frames.
    """

    def __init__(self, plain: nn.Module, dtype: torch.dtype, choose: FormChoice, samples_per_frame: int) -> None:
        super().__init__()
        assert isinstance(plain, nn.ConvTranspose1d)
        rate, padding, n_taps = plain.stride[0], plain.padding[0], plain.kernel_size[0]
        assert isinstance(padding, int)
        if n_taps - 2 * padding != rate or plain.groups != 1 or plain.dilation != (1,) or plain.output_padding != (0,):
            raise ValueError(f"{plain} does not map each frame to exactly its stride in samples")
        given = plain.weight.detach()  # (C, C', K)
        reach = -(-padding // rate)  # frames on either side
        taps = torch.zeros(
            rate, given.shape[1], given.shape[0], 2 * reach + 1, device=given.device
        )  # (p, C', C, frames)
        for p in range(rate):
            for place in range(2 * reach + 1):  # of frame q + place - reach
                k = p + padding - (place - reach) * rate
                if 0 <= k < n_taps:
                    taps[p, :, :, place] = given[:, :, k].t()
        self.rate, self.n_channels = rate, given.shape[1]
        flat = nn.Conv1d(len(given), rate * self.n_channels, 2 * reach + 1, padding=reach, device="meta")
        flat.weight = nn.Parameter(taps.flatten(0, 1), requires_grad=False)
        bias = torch.zeros(self.n_channels, device=given.device) if plain.bias is None else plain.bias.detach().float()
        flat.bias = nn.Parameter(bias.repeat(rate), requires_grad=False)
        self.convolution = _convolution(flat, dtype, choose, samples_per_frame)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.convolution(x)  # (B, T, rate C')
        return y.view(len(y), -1, self.n_channels)


class _Convolution(nn.Module):
    """An `nn.Conv1d` of (B, T, C), prepacked where possible."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """(B, T, C) -> (B, T', C'), plus `residual` if given."""
        if isinstance(self.layer, CompiledConv1d | PrepackedConv1d):
            return self.layer.channels_last(x, residual)
        y: Tensor
        if isinstance(self.layer, nn.Conv1d):
            y = self.layer(x.transpose(1, 2)).transpose(1, 2).contiguous()
        else:
            y = self.layer(x)
        return y if residual is None else y.add_(residual)


def _convolution(plain: nn.Module, dtype: torch.dtype, choose: FormChoice, samples_per_frame: int) -> _Convolution:
    assert isinstance(plain, nn.Conv1d)
    layer = nn.Conv1d(
        *(plain.in_channels, plain.out_channels, plain.kernel_size[0]),
        padding=plain.padding[0],
        dilation=plain.dilation[0],
        bias=plain.bias is not None,
        device="meta",
    )
    for name, given in plain.named_parameters():
        setattr(layer, name, nn.Parameter(given.detach().to(dtype), requires_grad=False))
    if layer.weight.is_cuda:
        return _Convolution(choose(layer, samples_per_frame))
    return _Convolution(prepacked(layer) or layer)
