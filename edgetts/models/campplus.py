"""CAM++: filter-bank frames of a recording to one style vector (speaker embedding).

In: a Kaldi filter bank at 100 frames per second, minus its mean over time. Out: one vector per recording.
It does not know loudness (the mean is removed) or the words. Enrollment only.

A small 2-D convolutional front end, then a densely connected time-delay network: each layer reads the outputs of all
earlier layers of its block, and scales its own output by a mask computed from the mean over the recording and over the
local segment of 100 frames. Mean and standard deviation over time go through a last linear layer.

Source: Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware
Masking" (2023); parameter names as in 3D-Speaker.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.pack.config import SpeakerEncoderConfig

EXPECTED_EXTRAS: tuple[str, ...] = ()

FRONT_BLOCKS_PER_STAGE = 2
FRONT_STRIDE = 2  # in frequency only, of each of the two stages and of the convolution that ends it
FRONT_REDUCTION = FRONT_STRIDE**3  # bands in over bands out
TDNN_KERNEL_SIZE = 5
TDNN_STRIDE = 2
SEGMENT_LENGTH = 100  # frames after the stride: the local context of the mask, 2 s
MASK_REDUCTION = 2


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions over (frequency, time), striding in frequency."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride=(stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.append(nn.Conv2d(channels, channels, 1, stride=(stride, 1), bias=False))
            self.shortcut.append(nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, M, T) -> (B, C, M / stride, T)."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class FrontEnd(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = self._stage(channels)
        self.layer2 = self._stage(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=(FRONT_STRIDE, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    @staticmethod
    def _stage(channels: int) -> nn.Sequential:
        strides = [FRONT_STRIDE] + [1] * (FRONT_BLOCKS_PER_STAGE - 1)
        return nn.Sequential(*(ResidualBlock(channels, stride) for stride in strides))

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, T) -> (B, C * M / 8, T)."""
        out = F.relu(self.bn1(self.conv1(x[:, None])))  # (B, C, M, T)
        out = self.layer2(self.layer1(out))
        out = F.relu(self.bn2(self.conv2(out)))  # (B, C, M / 8, T)
        return out.flatten(1, 2)


class BatchNormReLU(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.batchnorm(x))


class BatchNormOnly(nn.Module):
    """Batch norm without scale, shift or activation: the last layer of the network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.batchnorm(x)
        return out


class TDNN(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(
            in_channels,
            out_channels,
            TDNN_KERNEL_SIZE,
            stride=TDNN_STRIDE,
            padding=TDNN_KERNEL_SIZE // 2,
            bias=False,
        )
        self.nonlinear = BatchNormReLU(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, T) -> (B, C, T / 2)."""
        out: Tensor = self.nonlinear(self.linear(x))
        return out


class ContextAwareMasking(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        padding = (kernel_size - 1) // 2 * dilation
        self.linear_local = nn.Conv1d(
            in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, bias=False
        )
        self.linear1 = nn.Conv1d(in_channels, in_channels // MASK_REDUCTION, 1)
        self.linear2 = nn.Conv1d(in_channels // MASK_REDUCTION, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, T) -> (B, C_out, T)."""
        # ceil_mode: the last segment is shorter and is averaged over its own frames.
        segments = F.avg_pool1d(x, SEGMENT_LENGTH, stride=SEGMENT_LENGTH, ceil_mode=True)
        local = segments.repeat_interleave(SEGMENT_LENGTH, dim=-1)[..., : x.shape[-1]]  # (B, C_in, T)
        context = x.mean(dim=-1, keepdim=True) + local
        mask = torch.sigmoid(self.linear2(F.relu(self.linear1(context))))  # (B, C_out, T)
        out: Tensor = self.linear_local(x) * mask
        return out


class DenseTDNNLayer(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, bottleneck: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = BatchNormReLU(in_channels)
        self.linear1 = nn.Conv1d(in_channels, bottleneck, 1, bias=False)
        self.nonlinear2 = BatchNormReLU(bottleneck)
        self.cam_layer = ContextAwareMasking(bottleneck, out_channels, kernel_size, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> the new channels (B, growth, T)."""
        out: Tensor = self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))
        return out


class DenseTDNNBlock(nn.ModuleDict):
    def __init__(
        self,
        n_layers: int,
        in_channels: int,
        growth: int,
        bottleneck: int,
        kernel_size: int,
        dilation: int,
    ) -> None:
        super().__init__()
        for i in range(n_layers):
            layer = DenseTDNNLayer(in_channels + i * growth, growth, bottleneck, kernel_size, dilation)
            self[f"tdnnd{i + 1}"] = layer

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C + n_layers * growth, T)."""
        for layer in self.values():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class Transit(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.nonlinear = BatchNormReLU(in_channels)
        self.linear = nn.Conv1d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.nonlinear(x))
        return out


class Statistics(nn.Module):
    """Mean and standard deviation (ddof 1) over time: (B, C, T) -> (B, 2C)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(dim=-1), x.std(dim=-1)], dim=-1)


class Embedding(nn.Module):
    def __init__(self, in_channels: int, embedding_size: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(in_channels, embedding_size, 1, bias=False)
        self.nonlinear = BatchNormOnly(embedding_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2C) -> (B, embedding_size)."""
        out: Tensor = self.nonlinear(self.linear(x[:, :, None]).squeeze(-1))
        return out


class SpeakerEncoder(nn.Module):
    """Recording -> style vector."""

    def __init__(self, config: SpeakerEncoderConfig) -> None:
        super().__init__()
        self.head = FrontEnd(config.front_channels)
        xvector = nn.Sequential()
        front_bands = config.n_mels // FRONT_REDUCTION
        xvector.add_module("tdnn", TDNN(config.front_channels * front_bands, config.init_channels))
        channels, growth = config.init_channels, config.growth_rate
        bottleneck = config.bottleneck_factor * growth
        shapes = zip(config.block_layers, config.block_kernel_sizes, config.block_dilations, strict=True)
        for i, (n_layers, kernel_size, dilation) in enumerate(shapes, start=1):
            block = DenseTDNNBlock(n_layers, channels, growth, bottleneck, kernel_size, dilation)
            channels += n_layers * growth
            xvector.add_module(f"block{i}", block)
            xvector.add_module(f"transit{i}", Transit(channels, channels // 2))
            channels //= 2
        xvector.add_module("out_nonlinear", BatchNormReLU(channels))
        xvector.add_module("stats", Statistics())
        xvector.add_module("dense", Embedding(2 * channels, config.embedding_size))
        self.xvector = xvector

    def forward(self, fbank: Tensor) -> Tensor:
        """fbank (B, T, M), minus its mean over time, at least 3 frames -> style (B, embedding_size)."""
        out: Tensor = self.xvector(self.head(fbank.transpose(1, 2)))
        return out
