"""The networks that all families have, by component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetts.models import bigvgan, campplus, repcodec, vocoder, w2v_bert
from edgetts.models.network import Network

SHARED: Mapping[str, Network[Any]] = {
    "semantic_encoder": Network(lambda c: w2v_bert.SemanticEncoder(c.semantic_encoder), w2v_bert.EXPECTED_EXTRAS),
    "quantizer": Network(lambda c: repcodec.Quantizer(c.semantic_codec)),
    "speaker_encoder": Network(lambda c: campplus.SpeakerEncoder(c.speaker_encoder), campplus.EXPECTED_EXTRAS),
    "vocoder": Network(lambda c: vocoder.build_vocoder(c.vocoder), bigvgan.EXPECTED_EXTRAS),
}
