"""S2Mel's input in IndexTTS-2.5: the codec's decoder over the codes, without the GPT.

The decoder looks ahead. The features of the last codes are computed as if speech ended there, and again when more codes
follow. A feature is final when all codes within `reach` of it are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edgetts.decoding.prompt import GPTPrompt
from edgetts.errors import UsageError
from edgetts.families.indextts25.codec_decoder import CodecDecoder, reach
from edgetts.families.indextts25.dims import UpsamplingCodecConfig
from edgetts.models.repcodec import Quantizer

if TYPE_CHECKING:
    from edgetts.backends.networks import Networks


class CodecFeatures:
    """A `FeaturePass`: runs the decoder on new codes, and on the codes before them that they change or depend on."""

    def __init__(self, config: UpsamplingCodecConfig, quantizer: Quantizer, decoder: CodecDecoder) -> None:
        self._config = config
        self._quantizer = quantizer
        self._decoder = decoder
        self._reach = reach(config)
        self._codes: list[int] = []
        self._features: Tensor | None = None

    @property
    def n_codes(self) -> int:
        """Codes so far."""
        return len(self._codes)

    @torch.inference_mode()
    def append(self, codes: Sequence[int]) -> Tensor:
        """As `FeaturePass.append`, with `features_per_code` features per code."""
        if not codes:
            raise UsageError("There are no codes to decode; give at least one.")
        wrong = [code for code in codes if not 0 <= code < self._config.codebook_size]
        if wrong:
            raise UsageError(f"{wrong[0]} is not a code; codes are 0 to {self._config.codebook_size - 1}.")
        factor = self._config.features_per_code
        kept = max(0, self.n_codes - self._reach)  # codes whose features are final
        first = max(0, kept - self._reach)
        self._codes += codes
        weight = self._quantizer.quantizer.only.codebook.weight
        window = torch.tensor([self._codes[first:]], device=weight.device)
        features: Tensor = self._decoder(self._quantizer.lookup(window))[:, (kept - first) * factor :]
        if self._features is not None:
            features = torch.cat([self._features[:, : kept * factor], features], dim=1)
        self._features = features
        return features


def feature_pass(networks: Networks, _prompt: GPTPrompt) -> CodecFeatures:
    """The features of one segment."""
    decoder = networks.others["codec_decoder"]
    assert isinstance(decoder, CodecDecoder)
    return CodecFeatures(decoder.config, networks.quantizer, decoder)
