"""The GPT of IndexTTS-2.5: that of IndexTTS-2 with a language embedding and without speed embeddings.

The sequence is `[speaker + emotion, 0, 0, start text stop, start codes...]`. The language embedding is added to every
text position, start and stop included.

Source: upstream indextts/gpt/model_v2.py with `spk_cond_mode="campplus"`.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgetts.families.indextts25.dims import LanguageGPTConfig
from edgetts.models.gpt import EXPECTED_EXTRAS as GPT_EXTRAS
from edgetts.models.gpt import GPT, N_SPEED_EMBEDDINGS
from edgetts.pack.config import GPTConfig

# Conditioning is a component of its own, so the checkpoint's GPT file has tensors that are not of this network.
EXPECTED_EXTRAS = GPT_EXTRAS
_UNUSED_ROWS = 1  # at the end of the language table
_ROWS_FROM_COMMON = 1 + _UNUSED_ROWS  # the last used row is for languages without one of their own


class LanguageGPT(GPT):
    """The network; differences from `GPT` as of the module."""

    config: LanguageGPTConfig

    def _add_tables(self, config: GPTConfig) -> None:
        assert isinstance(config, LanguageGPTConfig)
        self.lang_embedding = nn.Embedding(config.n_languages, config.model_dim)

    @property
    def n_languages(self) -> int:
        return self.config.n_languages

    def speed_rows(self) -> Tensor:
        """Zeros (2, C): the sequence keeps the two speed positions, without embeddings."""
        return self.final_norm.weight.new_zeros(N_SPEED_EMBEDDINGS, self.config.model_dim)

    def language_row(self, language: int | None) -> Tensor:
        """As `GPT.language_row`; None: the row of languages without one of their own."""
        index = self.config.n_languages - _ROWS_FROM_COMMON if language is None else language
        row: Tensor = self.lang_embedding.weight[index]
        return row.view(1, 1, -1)
