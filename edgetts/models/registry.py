"""The registry of networks: a component of a pack by name, its class from the pack's family (`edgetts.families`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

import torch
from torch import nn

from edgetts.families import family_of
from edgetts.models import campplus, conditioning, gpt, repcodec, s2mel, vocoder, w2v_bert
from edgetts.models.network import Network
from edgetts.pack.config import ModelConfig
from edgetts.pack.meta_init import ModuleT

if TYPE_CHECKING:
    from edgetts.pack.load import Pack


def networks_of(config: ModelConfig) -> Mapping[str, Network[Any]]:
    """The networks of a model, by component."""
    networks: Mapping[str, Network[Any]] = family_of(config).part("networks").NETWORKS
    return networks


@dataclass(frozen=True)
class Component(Generic[ModuleT]):
    """A component by its name in packs. ModuleT: its network's class, or the base class of it in all families."""

    name: str

    def build(self, config: ModelConfig) -> ModuleT:
        """The network without weights. Raises KeyError where the family has no such component."""
        network: ModuleT = networks_of(config)[self.name].build(config)
        return network

    def load(self, pack: Pack, device: torch.device | str = "cpu", **how: Any) -> ModuleT:
        """The network with the weights of a pack. how: further arguments of `Pack.module`; raises its errors."""
        return pack.module(self.name, lambda: self.build(pack.config), device, **how)


SEMANTIC_ENCODER = Component[w2v_bert.SemanticEncoder]("semantic_encoder")
CODEC_ENCODER = Component[repcodec.SemanticCodecEncoder]("codec_encoder")
QUANTIZER = Component[repcodec.Quantizer]("quantizer")
SPEAKER_ENCODER = Component[campplus.SpeakerEncoder]("speaker_encoder")
CONDITIONING = Component[conditioning.EmotionConditioning]("conditioning")
GPT = Component[gpt.GPT]("gpt")
S2MEL = Component[s2mel.S2Mel]("s2mel")
# The same components, of families that have more in them.
SPEAKER_CONDITIONING = Component[conditioning.Conditioning]("conditioning")
LATENT_S2MEL = Component[s2mel.LatentS2Mel]("s2mel")
VOCODER = Component[vocoder.Vocoder]("vocoder")


def component(name: str) -> Component[nn.Module]:
    """A component that not every family has."""
    return Component[nn.Module](name)
