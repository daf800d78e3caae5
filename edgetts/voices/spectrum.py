"""Spectrum of a voice: a linear map of S2Mel's mels, so that a new voice gets the spectrum of its recording.

A small S2Mel pulls a new voice towards one it knows. It also says the recording's own words with the recording's
timing, from its codes, so what it makes can be compared with the recording frame by frame. A ridge regression of the
difference finds an affine map of a frame's bands, which every later mel goes through. No training is needed: it takes
one pass of the flow. Frames of pauses count as equal, so that pauses stay as the model makes them, whatever the
recording's noise. What all bands differ by is left out: a louder recording does not make a louder voice.

Not part of upstream: the option `match_spectrum` enables it, and is off unless the caller or the pack sets it.

In: an open pack and a `Voice`. Out: the same voice with `mel_map`; mapped mels.

Shapes: M mel bands, F frames, N frames of all sounds.
Source: Leggetter and Woodland 1995, "Maximum likelihood linear regression for speaker adaptation of continuous density
hidden Markov models" (an affine map per speaker); Hoerl and Kennard 1970, "Ridge regression".
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edgetts.voices.voice import Voice
from edgetts.voices.voiced_flow import VoicedFlow

if TYPE_CHECKING:
    from edgetts.options import SynthesisOptions
    from edgetts.pack.load import Pack

RIDGE = 6_600.0  # squared nats; less follows the recording closer and sounds rougher
PRIOR_FRAMES = 60.0  # the mean difference counts as if so many more frames had none
QUIETEST, LOUDEST = 0.05, 0.95  # quantiles of the frames' loudness; below halfway between them lie the pauses
FEWEST_FRAMES = 43  # half a second; fewer give a map that changes nothing


@torch.inference_mode()
def match_spectrum(pack: Pack, voice: Voice, options: SynthesisOptions, device: torch.device) -> Voice:
    """The voice with a `mel_map` for these options. Loads S2Mel in fp32 and frees it again."""
    made, recorded = VoicedFlow(pack, voice, options, device).of_recording()
    fitted = fit(made[0].cpu(), recorded[0].cpu())
    return dataclasses.replace(voice, mel_map=fitted[None], adapted_to=pack.manifest.s2mel_id)


def fit(made: Tensor, recorded: Tensor) -> Tensor:
    """The map (M, M + 1) of two mels (M, N) of the same speech; what it gives is added to a mel."""
    spoken = is_speech(recorded)
    if made.shape[1] < FEWEST_FRAMES or not bool(spoken.any()):
        return torch.zeros(len(made), len(made) + 1)
    made, recorded = made.double(), recorded.double()
    difference = recorded - made
    difference = (difference - difference[:, spoken].mean()) * spoken
    n_frames = made.shape[1]
    mean = made.mean(1, keepdim=True)
    around, shift = made - mean, difference.mean(1, keepdim=True)
    ridge = RIDGE * torch.eye(len(made), dtype=made.dtype)
    slope = torch.linalg.solve(around @ around.T + ridge, around @ (difference - shift).T).T
    shift = shift * n_frames / (n_frames + PRIOR_FRAMES)
    return torch.cat([slope, shift - slope @ mean], dim=1).float()


def is_speech(mel: Tensor) -> Tensor:
    """(N,) bool: the frames of a mel (M, N) that are no pauses."""
    loudness = mel.mean(0)
    return loudness > (loudness.quantile(QUIETEST) + loudness.quantile(LOUDEST)) / 2


def mapped(mel: Tensor, mel_map: Tensor | None) -> Tensor:
    """The mel (..., M, F) after the map (M, M + 1) of a voice; without one, as it is."""
    return mel if mel_map is None else mel + mel_map[:, :-1] @ mel + mel_map[:, -1:]
