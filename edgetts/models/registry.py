"""Which network fills each component of a pack.

One table: the class of a component, the part of the configuration that it is built from, and the tensors of the
published file that no pack needs. Adding a component means one entry here and its name in `edgetts.pack.manifest`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

import torch

from edgetts.models import bigvgan, campplus, conditioning, gpt, repcodec, s2mel, vocoder, w2v_bert
from edgetts.pack.config import ModelConfig
from edgetts.pack.meta_init import ModuleT

if TYPE_CHECKING:
    from edgetts.pack.load import Pack


@dataclass(frozen=True)
class Network(Generic[ModuleT]):
    """extras: published tensors (fnmatch patterns) that the network does not have."""

    component: str
    build: Callable[[ModelConfig], ModuleT]
    extras: tuple[str, ...] = ()

    def load(self, pack: Pack, device: torch.device | str = "cpu", **how: Any) -> ModuleT:
        """The network of a pack with its weights. how: further arguments of `Pack.module`, and its errors."""
        return pack.module(self.component, lambda: self.build(pack.config), device, **how)


SEMANTIC_ENCODER = Network(
    "semantic_encoder", lambda c: w2v_bert.SemanticEncoder(c.semantic_encoder), w2v_bert.EXPECTED_EXTRAS
)
CODEC_ENCODER = Network(
    "codec_encoder", lambda c: repcodec.SemanticCodecEncoder(c.semantic_codec), repcodec.EXPECTED_EXTRAS
)
QUANTIZER = Network("quantizer", lambda c: repcodec.Quantizer(c.semantic_codec))
SPEAKER_ENCODER = Network(
    "speaker_encoder", lambda c: campplus.SpeakerEncoder(c.speaker_encoder), campplus.EXPECTED_EXTRAS
)
CONDITIONING = Network(
    "conditioning", lambda c: conditioning.Conditioning(c.conditioning), conditioning.EXPECTED_EXTRAS
)
GPT = Network("gpt", lambda c: gpt.GPT(c.gpt), gpt.EXPECTED_EXTRAS)
S2MEL = Network("s2mel", lambda c: s2mel.S2Mel(c.s2mel), s2mel.EXPECTED_EXTRAS)
VOCODER = Network("vocoder", lambda c: vocoder.build_vocoder(c.vocoder), bigvgan.EXPECTED_EXTRAS)

NETWORKS: Mapping[str, Network[Any]] = {
    network.component: network
    for network in (
        SEMANTIC_ENCODER,
        CODEC_ENCODER,
        QUANTIZER,
        SPEAKER_ENCODER,
        CONDITIONING,
        GPT,
        S2MEL,
        VOCODER,
    )
}
