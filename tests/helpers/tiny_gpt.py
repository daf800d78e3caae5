"""The GPT of the built-in model with weights in any scheme and any kernel, and prompts for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from edgetts.api import TTS
from edgetts.backends.kernels import KernelChoice
from edgetts.backends.linear import replace_layers
from edgetts.decoding.prompt import GPTPrompt
from edgetts.models.gpt import GPT
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pack.meta_init import init_on_meta
from edgetts.pack.schemes import Quantized
from edgetts.quant.schemes import SchemeRule, round_to_nearest
from edgetts.voices.store import VoiceStore

CPU = torch.device("cpu")
TEXTS = (
    "Good morning, everyone. The train to the harbour leaves in a quarter of an hour.",
    "She counted the letters twice, then put them back into the drawer without a word.",
    "It rained all night, and by the time we woke the garden was under water.",
)


@dataclass(frozen=True)
class Prompt:
    """The inputs of decoding."""

    conditioning_latents: Tensor
    emotion_vector: Tensor
    text_ids: Tensor

    def of(self, gpt: GPT) -> GPTPrompt:
        return GPTPrompt.build(gpt, self.conditioning_latents, self.emotion_vector, self.text_ids)


def tiny_gpt(scheme: str, group: int | None, kernel: str) -> GPT:
    """kernel: DEQUANTIZED is the reference, plain linear layers over the weights that `scheme` leaves.

    The head has int8 weights whatever the scheme, as in the recipes; some int4 kernels do not take its odd width.
    """
    config, weights = open_pack(builtin_pack()).config.gpt, _weights()
    gpt = init_on_meta(lambda: GPT(config))
    linears = {f"{n}.weight" for n, layer in gpt.named_modules() if isinstance(layer, torch.nn.Linear)}
    quantized = {name: _quantize(name, w, scheme, group) for name, w in weights.items() if name in linears}
    taken = replace_layers(gpt, quantized, KernelChoice(CPU, kernel), torch.float32)
    rest = {n: quantized[n].decode() if n in quantized else w for n, w in weights.items() if n not in taken}
    gpt.load_state_dict(rest, strict=False, assign=True)
    assert not [n for n, p in gpt.named_parameters() if p.is_meta]
    return gpt.eval().requires_grad_(False)


def _quantize(name: str, weight: Tensor, scheme: str, group: int | None) -> Quantized:
    if name == "mel_head.weight":
        scheme, group = "int8_channel", None
    parts = round_to_nearest(name, weight, SchemeRule("*", scheme, group))
    return Quantized(scheme, group, tuple(weight.shape), parts)


@lru_cache(maxsize=1)
def _weights() -> dict[str, Tensor]:
    return open_pack(builtin_pack()).state_dict("gpt")


@lru_cache(maxsize=1)
def prompts() -> tuple[Prompt, ...]:
    """The texts, in the voice that the pack came with."""
    tts = TTS(open_pack(builtin_pack()), CPU, VoiceStore.default(None))
    voice = tts.voice()
    return tuple(
        Prompt(voice.conditioning_latents, voice.emotion_vector, torch.tensor([segment.ids]))
        for text in TEXTS
        for segment in tts.frontend().segments(text, 120).segments
    )
