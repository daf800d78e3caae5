"""The GPT of IndexTTS-2.5: that of IndexTTS-2 with a row for the language and without embeddings of the speed.

The sequence is `[speaker + emotion, 0, 0, start text stop, start codes...]`. The row of the language is added to every
text position, start and stop included.

Source: upstream indextts/gpt/model_v2.py with `spk_cond_mode="campplus"`.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgetts.families.indextts25.dims import LanguageGPTConfig
from edgetts.models.gpt import EXPECTED_EXTRAS as GPT_EXTRAS
from edgetts.models.gpt import GPT, N_SPEED_EMBEDDINGS
from edgetts.pack.config import GPTConfig

# What conditions it is a component of its own.
EXPECTED_EXTRAS = GPT_EXTRAS
_UNUSED_ROWS = 1  # at the end of the language table
_ROWS_FROM_COMMON = 1 + _UNUSED_ROWS  # the last language stands for all that have no row


class LanguageGPT(GPT):
    """See the module."""

    config: LanguageGPTConfig

    def _add_tables(self, config: GPTConfig) -> None:
        assert isinstance(config, LanguageGPTConfig)
        self.lang_embedding = nn.Embedding(config.n_languages, config.model_dim)

    @property
    def n_languages(self) -> int:
        return self.config.n_languages

    def speed_rows(self) -> Tensor:
        """Zeros (2, C): the published GPT keeps the places and has no embeddings for them."""
        return self.final_norm.weight.new_zeros(N_SPEED_EMBEDDINGS, self.config.model_dim)

    def language_row(self, language: int | None) -> Tensor:
        """As of `GPT`; None: the row that stands for all languages without one."""
        index = self.config.n_languages - _ROWS_FROM_COMMON if language is None else language
        row: Tensor = self.lang_embedding.weight[index]
        return row.view(1, 1, -1)
