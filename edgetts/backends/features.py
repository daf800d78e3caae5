"""Which `FeaturePass` a model has: that of its family."""

from __future__ import annotations

from edgetts.backends.networks import Networks
from edgetts.decoding.features import FeaturePass
from edgetts.decoding.prompt import GPTPrompt
from edgetts.families import family_of

__all__ = ["FeaturePass", "feature_pass"]


def feature_pass(networks: Networks, prompt: GPTPrompt) -> FeaturePass:
    """What makes S2Mel's input of the codes of one segment."""
    made: FeaturePass = family_of(networks.config).part("features").feature_pass(networks, prompt)
    return made
