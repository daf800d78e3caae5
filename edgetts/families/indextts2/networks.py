"""The networks of IndexTTS-2, by component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetts.families.networks import SHARED
from edgetts.models import conditioning, gpt, repcodec, s2mel
from edgetts.models.network import Network

NETWORKS: Mapping[str, Network[Any]] = {
    **SHARED,
    "codec_encoder": Network(lambda c: repcodec.SemanticCodecEncoder(c.semantic_codec), repcodec.EXPECTED_EXTRAS),
    "conditioning": Network(lambda c: conditioning.Conditioning(c.conditioning), conditioning.EXPECTED_EXTRAS),
    "gpt": Network(lambda c: gpt.GPT(c.gpt), gpt.EXPECTED_EXTRAS),
    "s2mel": Network(lambda c: s2mel.LatentS2Mel(c.s2mel), s2mel.EXPECTED_EXTRAS),
}
