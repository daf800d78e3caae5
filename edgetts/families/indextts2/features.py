"""S2Mel's input in IndexTTS-2: for each code, its codebook entry plus the projected GPT latent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edgetts.decoding.latents import LatentPass
from edgetts.decoding.prompt import GPTPrompt
from edgetts.models.s2mel import LatentS2Mel

if TYPE_CHECKING:
    from edgetts.backends.networks import Networks


class LatentFeatures:
    """A `FeaturePass`: computes latents in a second, causal pass of the GPT with its own cache."""

    def __init__(self, networks: Networks, prompt: GPTPrompt) -> None:
        self._networks = networks
        s2mel = networks.s2mel
        assert isinstance(s2mel, LatentS2Mel)
        self._project = s2mel.project_latents
        self._latents = LatentPass(networks.gpt, prompt)
        self._features: Tensor | None = None

    @property
    def n_codes(self) -> int:
        """Codes so far."""
        return self._latents.n_codes

    def append(self, codes: Sequence[int]) -> Tensor:
        """As `FeaturePass.append`. There is one feature per code, and it never changes."""
        latents = self._latents.append(codes)
        new = torch.tensor([list(codes)], device=self._networks.device)
        features: Tensor = self._networks.quantizer.lookup(new) + self._project(latents)
        self._features = features if self._features is None else torch.cat([self._features, features], dim=1)
        return self._features


feature_pass = LatentFeatures
