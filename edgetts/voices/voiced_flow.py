"""S2Mel in a voice as at synthesis, outside of the run phase: what measures and fits a new voice listens to.

In: an open pack, a `Voice` and options. Out: mels. Loads S2Mel in fp32; drop the object to free it.

Shapes: B rows, T codes, F mel frames, M mel bands, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edgetts.backends.prepare import adapted
from edgetts.backends.process import prepare_process
from edgetts.decoding.flow import solve_flow
from edgetts.families import family_of
from edgetts.models import registry
from edgetts.models.voice_offsets import voice_offsets
from edgetts.voices.voice import Voice

if TYPE_CHECKING:
    from edgetts.options import SynthesisOptions
    from edgetts.pack.load import Pack

_SEED = 0  # of the flow's noise, the same for all voices


class VoicedFlow:
    """The flow with the voice's prompt, style and offsets, but without its spectrum's map."""

    def __init__(self, pack: Pack, voice: Voice, options: SynthesisOptions, device: torch.device) -> None:
        prepare_process()
        config = pack.config
        self._s2mel = registry.S2MEL.load(pack, device).float()
        self._quantizer = registry.QUANTIZER.load(pack, device).float()
        self._settings = options.flow_settings()
        self._mel_frames_per_code = config.s2mel.mel_frames_per_code
        features = family_of(config).part("voice").reference_features(voice, self._quantizer, device)  # (1, T, C)
        self._recorded = voice.reference_mel.to(device)  # (1, M, F)
        self._heard = self._s2mel.length_regulator(features, self._recorded.shape[-1])  # (1, F, C)
        n_frames = self._recorded.shape[-1]
        kept = n_frames if options.prompt_s is None else round(options.prompt_s * config.audio.frame_rate)
        self._n_prompt = min(kept, n_frames)
        self._style, self._offsets = voice.style.to(device), None
        if voice.offsets is not None:
            learned = voice_offsets(voice.offsets.to(device), config.s2mel.dit)
            self._style, self._offsets = self._style + learned.style, learned.times

    def of_codes(self, codes: Tensor) -> Tensor:
        """Mels (B, M, F) of codes (B, T), with the prompt of synthesis."""
        n_frames = int(codes.shape[1] * self._mel_frames_per_code)
        return self._solved(self._s2mel.length_regulator(self._quantizer.lookup(codes), n_frames), self._n_prompt)

    def of_recording(self) -> tuple[Tensor, Tensor]:
        """What the flow makes of the voice's own recording, and that recording, both (1, M, F).

        The prompt is that of synthesis, but at most half of the recording, and is not part of them.
        """
        n_prompt = min(self._n_prompt, self._recorded.shape[-1] // 2)
        return self._solved(self._heard[:, :-n_prompt], n_prompt), self._recorded[:, :, :-n_prompt]

    def _solved(self, condition: Tensor, n_prompt: int) -> Tensor:
        """Mels (B, M, F) of a condition (B, F, C), after the last `n_prompt` frames of the recording."""
        prompt, known = self._recorded[:, :, -n_prompt:], self._heard[:, -n_prompt:]
        n_rows = len(condition)
        conditions = torch.cat([known.expand(n_rows, -1, -1), condition], dim=1)
        noise = torch.randn(
            (n_rows, prompt.shape[1], conditions.shape[1]), generator=torch.Generator().manual_seed(_SEED)
        )
        solved = solve_flow(
            adapted(self._s2mel.cfm.estimator, self._offsets),
            noise.to(conditions.device),
            prompt.expand(n_rows, -1, -1),
            conditions,
            self._style.expand(n_rows, -1),
            self._settings,
        )
        return solved[:, :, n_prompt:]
