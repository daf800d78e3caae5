"""Length regulator: semantic features at code rate in, condition of the DiT at mel rate out.

In: features `(B, T, C_in)`. Out: condition `(B, T', C_out)` for any target length T'. Nearest-neighbor interpolation,
then convolutions with a group norm over *all* channels and frames. Its statistics are global: the condition of a part
differs from the part of the whole condition, and items of unequal length must not share a padded batch.

It does not know how many frames belong to a code; the caller gives the target length.

Source: upstream `indextts/s2mel/modules/length_regulator.py`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from edgetts.pack.config import LengthRegulatorConfig

# Published tensors used only for discrete input or training (fnmatch patterns).
EXPECTED_EXTRAS: tuple[str, ...] = ("mask_token", "embedding.weight")

KERNEL_SIZE = 3
ONE_GROUP = 1  # group norm over all channels


class LengthRegulator(nn.Module):
    """Features at code rate -> condition at mel rate."""

    def __init__(self, config: LengthRegulatorConfig) -> None:
        super().__init__()
        self.content_in_proj = nn.Linear(config.in_channels, config.channels)
        layers: list[nn.Module] = []
        for _ in range(config.n_convs):
            layers.append(nn.Conv1d(config.channels, config.channels, KERNEL_SIZE, padding=KERNEL_SIZE // 2))
            layers.append(nn.GroupNorm(ONE_GROUP, config.channels))
            layers.append(nn.Mish())
        layers.append(nn.Conv1d(config.channels, config.out_channels, 1))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor, target_length: int) -> Tensor:
        """Features (B, T, C_in), target length in mel frames (at least 1) -> condition (B, target_length, C_out)."""
        x = self.content_in_proj(x).transpose(1, 2)  # (B, C, T)
        x = F.interpolate(x, size=target_length, mode="nearest")  # (B, C, target_length)
        condition: Tensor = self.model(x)  # (B, C_out, target_length)
        return condition.transpose(1, 2)
