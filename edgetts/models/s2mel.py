"""S2Mel: the networks between codes and mel, as one component of a pack.

It holds the length regulator, the DiT and, where a family has it, the projection of the GPT's latents into the semantic
space, under upstream's names. The caller makes the features, passes them through the length regulator, and solves the
flow ODE with the estimator.

Source: upstream `indextts/s2mel/modules/commons.py`.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from edgetts.models import dit, length_regulator
from edgetts.models.dit import DiT
from edgetts.models.length_regulator import LengthRegulator
from edgetts.pack.config import BaseS2MelConfig, S2MelConfig

# Published tensors that these networks do not have (fnmatch patterns).
EXPECTED_EXTRAS: tuple[str, ...] = (
    *(f"cfm.estimator.{pattern}" for pattern in dit.EXPECTED_EXTRAS),
    *(f"length_regulator.{pattern}" for pattern in length_regulator.EXPECTED_EXTRAS),
)


class FlowMatching(nn.Module):
    """The DiT under the name `estimator`."""

    def __init__(self, estimator: DiT) -> None:
        super().__init__()
        self.estimator = estimator


class S2Mel(nn.Module):
    """`cfm.estimator` and `length_regulator`."""

    def __init__(self, config: BaseS2MelConfig) -> None:
        super().__init__()
        self.cfm = FlowMatching(DiT(config.dit))
        self.length_regulator = LengthRegulator(config.length_regulator)

    @property
    def estimator(self) -> DiT:
        """The DiT."""
        return self.cfm.estimator


class LatentS2Mel(S2Mel):
    """An `S2Mel` with `gpt_layer`, for families whose features hold the GPT's latents."""

    def __init__(self, config: S2MelConfig) -> None:
        super().__init__(config)
        # No activation in between: a low-rank matrix, cheaper as factors.
        self.gpt_layer = nn.Sequential(
            *(nn.Linear(width, next_width) for width, next_width in pairwise(config.latent_projection_dims))
        )

    def project_latents(self, latents: Tensor) -> Tensor:
        """Latents of the GPT (B, T, C) -> their contribution to the semantic features (B, T, C_semantic)."""
        features: Tensor = self.gpt_layer(latents)
        return features
