"""The GPT's prompt for a segment: voice, emotion and text as one sequence of embeddings.

In: the GPT, conditioning latents and emotion vector of the voice, text ids. Out: a `GPTPrompt`, computed once per
segment and shared by all attempts and by the latent pass.

Source: upstream `UnifiedVoice.prepare_gpt_inputs` in indextts/gpt/model_v2.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from edgetts.errors import UsageError
from edgetts.models.gpt import GPT

_N_BRACKETS = 2  # start and stop around the text


@dataclass(frozen=True)
class PrefixStates:
    """The GPT's states after a prompt and the start code."""

    storage: Tensor  # (layers, 2, 1, H, P + 1, D), as of `KVCache`
    hidden: Tensor  # (1, 1, C) of the start code: the latent of the first code


@dataclass(frozen=True)
class GPTPrompt:
    """embeddings (1, P, C) on the GPT's device: rows of voice, emotion and speed, then the text in brackets.

    `states`: at most one entry, the states that a decoder computed for the prompt; other attempts and the latent pass
    start from them. (Positions of prompt and start code are the same in both passes.)
    """

    embeddings: Tensor
    n_text_tokens: int
    states: list[PrefixStates] = field(default_factory=list, compare=False, repr=False)

    def to(self, dtype: torch.dtype) -> GPTPrompt:
        """The prompt in the dtype of a reloaded GPT, without states if the dtype differs."""
        return self if self.embeddings.dtype == dtype else GPTPrompt(self.embeddings.to(dtype), self.n_text_tokens)

    @classmethod
    @torch.inference_mode()
    def build(
        cls,
        gpt: GPT,
        conditioning_latents: Tensor,
        emotion_vector: Tensor,
        text_ids: Tensor,
        language: int | None = None,
    ) -> GPTPrompt:
        """From conditioning_latents (1, N, C), emotion_vector (1, C) and text_ids (1, T) int64.

        language: of the text, for a GPT that distinguishes languages; None: not known.

        Ids equal to the start or stop token are left out, as upstream does. Raises UsageError for ids that are not
        text tokens, or for more of them than the model has positions for.
        """
        config = gpt.config
        if text_ids.dim() != 2 or text_ids.shape[0] != 1:
            raise UsageError(f"text_ids has shape {tuple(text_ids.shape)}; one row (1, T) is needed.")
        ids = text_ids[0]
        brackets = torch.tensor([config.start_text_token, config.stop_text_token], device=ids.device)
        ids = ids[~torch.isin(ids, brackets)]
        room = config.n_text_positions - _N_BRACKETS
        if ids.numel() > room:
            raise UsageError(
                f"The segment has {ids.numel()} text tokens; the model reads at most {room} at once: shorten a "
                "pronunciation, which is never cut."
            )
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < config.n_text_tokens:
            raise UsageError(
                f"Text ids run from {int(ids.min())} to {int(ids.max())}; "
                f"this model knows 0 to {config.n_text_tokens - 1}. Was the text tokenized for another pack?"
            )
        if language is not None and not 0 <= language < gpt.n_languages:
            raise UsageError(f"The language number is {language}; this model has languages 0 to {gpt.n_languages - 1}.")
        embeddings = gpt.prefix(
            conditioning_latents.to(gpt.device, gpt.dtype),
            emotion_vector.to(gpt.device, gpt.dtype),
            ids.unsqueeze(0).to(gpt.device, torch.int64),
            language,
        )
        return cls(embeddings, text_ids.shape[1])
