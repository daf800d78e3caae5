"""Adaptation: S2Mel learns small offsets for one voice from the recording that the voice was enrolled from.

In: an open pack and a `Voice`. Out: the same voice with `offsets`. The weights stay frozen. The offsets shift the style
and the gains and biases of the DiT (`models.voice_offsets`). They are trained by flow matching on excerpts of the
recording's mel with its semantic codes as condition; no text is needed. This helps networks that pull a new voice
towards one they know. It takes time at enrollment and none afterwards.

Not part of upstream: the option `adapt_steps` enables it, and is 0 unless the caller or the pack sets it.

Source: Chen et al. 2021, "AdaSpeech: adaptive text to speech for custom voice".
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from edgetts.backends.numbers import numbers_of
from edgetts.backends.process import prepare_process
from edgetts.families import family_of
from edgetts.models import registry
from edgetts.models.s2mel import S2Mel
from edgetts.models.voice_offsets import VoiceOffsets, n_offsets, voice_offsets
from edgetts.voices.voice import Voice

if TYPE_CHECKING:
    from edgetts.pack.load import Pack
    from edgetts.progress import Progress

EXCERPT_FRAMES = 112  # of mel; a shorter recording is one excerpt
EXCERPTS_PER_STEP = 1  # twice as many steps of one excerpt teach more than half as many of two
LEARNING_RATE = 0.035  # of Adam; decays linearly to zero
# Half of the excerpts are drawn near flow time 0, where the input is mostly noise, as in the built-in S2Mel's training.
EARLY_SHARE, EARLY_UNTIL = 0.5, 0.2


def adapt(
    pack: Pack,
    voice: Voice,
    *,
    steps: int,
    noise_scale: float,
    device: torch.device,
    progress: Progress,
) -> Voice:
    """The voice with offsets trained for `steps` steps; reproducible on the same machine with the same threads.

    noise_scale: scale of the flow's initial noise. Loads S2Mel in fp32 and frees it again.
    """
    prepare_process()
    config = pack.config
    # The caller may be in inference mode; training must not be.
    # PyTorch's fused attention has a gradient for CPUs that takes longer than the plain products, on two cores twice.
    plain = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else contextlib.nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), plain:
        s2mel = registry.S2MEL.load(pack, device).float().requires_grad_(False)
        quantizer = registry.QUANTIZER.load(pack, device).float()
        with torch.no_grad():
            family = family_of(config).part("voice")
            semantic = family.reference_features(voice, quantizer, device).clone()
        features_per_frame = config.features_per_code / config.s2mel.mel_frames_per_code
        excerpts = _Excerpts(voice.reference_mel.to(device).clone(), semantic, features_per_frame, noise_scale)
        style = voice.style.to(device).clone()
        flat = torch.zeros(1, n_offsets(config.s2mel.dit), device=device, requires_grad=True)
        optimizer = torch.optim.Adam([flat], lr=LEARNING_RATE)
        for step in range(steps):
            progress("adapting to the voice", step / steps)
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * (1 - step / steps)
            error = _flow_error(s2mel, style, voice_offsets(flat, config.s2mel.dit), excerpts.draw())
            (flat.grad,) = torch.autograd.grad(error, flat)
            optimizer.step()
        progress("voice ready", 1.0)
    return dataclasses.replace(voice, offsets=flat.detach().cpu(), adapted_to=pack.manifest.s2mel_id, adapt_steps=steps)


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """A batch of excerpts of one length, with noise and flow times."""

    mel: Tensor  # (B, M, F)
    semantic: Tensor  # (B, T, C)
    noise: Tensor  # (B, M, F), at the scale of the flow's initial noise
    times: Tensor  # (B,)


class _Excerpts:
    """Random excerpts of one recording, from a generator of their own."""

    def __init__(self, mel: Tensor, semantic: Tensor, codes_per_frame: float, noise_scale: float) -> None:
        self.mel = mel  # (1, M, F)
        self.semantic = semantic  # (1, T, C)
        self.codes_per_frame = codes_per_frame
        self.noise_scale = noise_scale
        self.n_frames = min(EXCERPT_FRAMES, mel.shape[-1])
        self.n_codes = min(int(self.n_frames * codes_per_frame) + 1, semantic.shape[1])
        self.generator = torch.Generator().manual_seed(0)

    def draw(self) -> _Drawn:
        device, generator = self.mel.device, self.generator
        size = (EXCERPTS_PER_STEP,)
        starts = torch.randint(self.mel.shape[-1] - self.n_frames + 1, size, generator=generator).tolist()
        last = self.semantic.shape[1] - self.n_codes
        firsts = [min(int(start * self.codes_per_frame), last) for start in starts]
        mel = torch.cat([self.mel[:, :, s : s + self.n_frames] for s in starts])
        early = torch.rand(size, generator=generator) < EARLY_SHARE
        times = torch.rand(size, generator=generator) * torch.where(early, EARLY_UNTIL, 1.0)
        return _Drawn(
            mel,
            torch.cat([self.semantic[:, f : f + self.n_codes] for f in firsts]),
            self.noise_scale * torch.randn(mel.shape, generator=generator).to(device),
            times.to(device),
        )


def _flow_error(s2mel: S2Mel, style: Tensor, offsets: VoiceOffsets, drawn: _Drawn) -> Tensor:
    """Mean absolute error plus half the mean squared error of the velocity, without a prompt."""
    at = drawn.times[:, None, None]
    x = at * drawn.mel + (1 - at) * drawn.noise
    styles = (style + offsets.style).expand(len(x), -1)
    dtype = numbers_of(x.device, "fast").training
    with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
        condition = s2mel.length_regulator(drawn.semantic, x.shape[-1])
        velocity = s2mel.estimator(x, torch.zeros_like(x), drawn.times, styles, condition, None, offsets.times)
    error = velocity.float() - (drawn.mel - drawn.noise)
    both: Tensor = error.square().mean() * 0.5 + error.abs().mean()
    return both
