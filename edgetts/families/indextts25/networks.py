"""The networks of IndexTTS-2.5, by component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetts.families.indextts25 import codec_decoder, conditioning, gpt
from edgetts.families.networks import SHARED
from edgetts.models import s2mel
from edgetts.models.network import Network

NETWORKS: Mapping[str, Network[Any]] = {
    **SHARED,
    # Upstream's file also holds the encoder, which only training needs.
    "codec_decoder": Network(lambda c: codec_decoder.CodecDecoder(c.semantic_codec), ("encoder.*", "down.*")),
    "conditioning": Network(conditioning.StyleConditioning, conditioning.EXPECTED_EXTRAS),
    "gpt": Network(lambda c: gpt.LanguageGPT(c.gpt), gpt.EXPECTED_EXTRAS),
    "s2mel": Network(lambda c: s2mel.S2Mel(c.s2mel), s2mel.EXPECTED_EXTRAS),
}
