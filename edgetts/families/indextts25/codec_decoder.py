"""The codec's decoder of IndexTTS-2.5: codes at 25 Hz to semantic features at 50 Hz, S2Mel's input.

A ConvNeXt stack over the quantized features, then a linear layer; each step is repeated; then one convolution. All of
it is local: a feature depends only on the codes within `reach` of it.

Source: upstream indextts/codec/models.py `decode`; Siuzdak, "Vocos" (2023) for the backbone.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.families.indextts25.dims import UpsamplingCodecConfig
from edgetts.models.repcodec import CONV_KERNEL_SIZE, Backbone

UP_KERNEL_SIZE = 3


class CodecDecoder(nn.Module):
    """The decoder; input and output as of the module."""

    def __init__(self, config: UpsamplingCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = Backbone(config)
        width = config.hidden_size
        self.up = nn.Conv1d(width, width, UP_KERNEL_SIZE, padding=UP_KERNEL_SIZE // 2)

    def decode(self, quantized: Tensor) -> Tensor:
        """quantized (B, T, C) -> (B, T, C), one step per code, before the repetition."""
        out: Tensor = self.decoder(quantized)
        return out

    def forward(self, quantized: Tensor) -> Tensor:
        """quantized features of codes (B, T, C) -> features (B, T * factor, C)."""
        factor = float(self.config.features_per_code)
        steps = F.interpolate(self.decode(quantized).transpose(1, 2), scale_factor=factor, mode="nearest")
        features: Tensor = self.up(steps).transpose(1, 2)
        return features


def reach(config: UpsamplingCodecConfig) -> int:
    """How many codes on either side the features of a code depend on."""
    n_convs = 1 + config.vocos_n_layers
    return n_convs * (CONV_KERNEL_SIZE // 2) + 1  # the last convolution sees the neighbor's step
