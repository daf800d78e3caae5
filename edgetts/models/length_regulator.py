"""Length regulator: semantic features at code rate in, condition of the DiT at mel rate out.

In: features `(B, T, C_in)`. Out: condition `(B, T', C_out)` for any target length T'. Nearest
interpolation, then convolutions with a group norm over *all* channels and frames: its statistics are
global, so the condition of a part is never exactly a part of the whole's condition, and items of unequal
length must not share a padded batch.

It does not know how many frames belong to a code; the caller gives the target length.

Source: upstream `indextts/s2mel/modules/length_regulator.py`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from edgetts.pack.config import LengthRegulatorConfig

# Tensors of the published checkpoint that only discrete input or training upstream uses (fnmatch patterns).
EXPECTED_EXTRAS: tuple[str, ...] = ("mask_token", "embedding.weight")

KERNEL_SIZE = 3
ONE_GROUP = 1  # of the group norm: everything together


class LengthRegulator(nn.Module):
    """See the module."""

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
        """Features (B, T, C_in), mel frames wanted (at least 1) -> condition (B, target_length, C_out)."""
        x = self.content_in_proj(x).transpose(1, 2)  # (B, C, T)
        x = F.interpolate(x, size=target_length, mode="nearest")  # (B, C, target_length)
        condition: Tensor = self.model(x)  # (B, C_out, target_length)
        return condition.transpose(1, 2)
