"""Decoding with the fused step against the same quantized network run layer by layer."""

from __future__ import annotations

import pytest
import torch
from helpers.mini_gpt import mini_gpt
from helpers.paths import GOLDEN
from safetensors.torch import load_file

from edgetts.backends.fused_step import fused_step
from edgetts.backends.kernels import KernelChoice
from edgetts.backends.linear import replace_layers
from edgetts.decoding.decode import generate_codes
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.settings import DecodeSettings
from edgetts.errors import GenerationError
from edgetts.models.gpt import GPT, KVCache
from edgetts.native.library import find_library
from edgetts.pack.schemes import Quantized
from edgetts.quant.schemes import SchemeRule, round_to_nearest

CPU = torch.device("cpu")
LAYERS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
compiled = pytest.mark.skipif(find_library() is None, reason="the compiled kernels were not built")


def quantized_gpt(scheme: str, group: int | None, kernel: str) -> GPT:
    gpt = mini_gpt()
    weights = {
        name: Quantized(scheme, group, tuple(w.shape), round_to_nearest(name, w, SchemeRule("*", scheme, group)))
        for name, w in gpt.state_dict().items()
        if name.endswith(tuple(layer + ".weight" for layer in LAYERS))
    }
    biases = {name: bias for name, bias in gpt.state_dict().items() if name.endswith(".bias")}
    assert len(replace_layers(gpt, weights, KernelChoice(CPU, kernel), torch.float32)) == len(weights)
    gpt.load_state_dict(biases, strict=False, assign=True)
    return gpt


@compiled
@pytest.mark.parametrize(("scheme", "group"), [("int4_group", 32), ("int8_channel", None)])
@pytest.mark.parametrize("rows", [1, 3])
def test_same_hidden_states_as_layer_by_layer(scheme: str, group: int | None, rows: int) -> None:
    gpt = quantized_gpt(scheme, group, "native")
    step = fused_step(gpt)
    assert step is not None
    plain, fused = (KVCache.allocate(gpt.config, 12, batch=rows) for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for time in (5, 1, 1, 1):
            x = torch.randn(rows, time, gpt.config.model_dim, generator=generator)
            torch.testing.assert_close(step(x, fused), gpt(x, plain), rtol=1e-3, atol=1e-3)
            assert fused.length == plain.length
        with pytest.raises(GenerationError, match="has room for 12"):
            for _ in range(5):
                step(x, fused)


@compiled
@pytest.mark.parametrize("n_beams", [1, 3])
def test_same_codes_as_the_dequantized_network(n_beams: int) -> None:
    golden = load_file(GOLDEN / "gpt.safetensors")
    voice = golden["conditioning_latents"], golden["emovec"], golden["text_ids"].long()
    settings = DecodeSettings(do_sample=False, n_beams=n_beams, max_codes=40)
    fast, reference = (
        quantized_gpt("int8_channel", None, "native"),
        quantized_gpt("int8_channel", None, "dequantize-per-call"),
    )
    assert fused_step(reference) is None
    found, expected = (
        generate_codes(gpt, GPTPrompt.build(gpt, *voice), settings, None, stepper=fused_step(gpt))
        for gpt in (fast, reference)
    )
    assert found == expected


def test_a_plain_network_is_left_alone() -> None:
    assert fused_step(mini_gpt()) is None
