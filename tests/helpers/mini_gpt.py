"""The mini GPT that the golden tensors were computed with, converted here by hand from its manifest."""

from __future__ import annotations

import json

import torch

from edgetts.models.gpt import EXPECTED_EXTRAS, GPT
from edgetts.pack.config import GPTConfig
from helpers.checkpoint import component_tensors
from helpers.paths import DATA

N_HEADS = 2  # tests/data/config/mini/config.yaml; no shape shows it
_CONV1D = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
_CONDITIONERS = (
    "conditioning_encoder",
    "perceiver_encoder",
    "emo_conditioning_encoder",
    "emo_perceiver_encoder",
    "emovec_layer",
    "emo_layer",
)


def mini_config() -> GPTConfig:
    shapes = {k: v["shape"] for k, v in json.loads((DATA / "manifest" / "mini-gpt.json").read_text()).items()}
    return GPTConfig(
        model_dim=shapes["final_norm.weight"][0],
        n_layers=sum(name.endswith("attn.c_attn.weight") for name in shapes),
        n_heads=N_HEADS,
        n_text_tokens=shapes["text_embedding.weight"][0],
        n_mel_codes=shapes["mel_embedding.weight"][0],
        n_text_positions=shapes["text_pos_embedding.emb.weight"][0],
        n_mel_positions=shapes["mel_pos_embedding.emb.weight"][0],
        start_text_token=0,
        stop_text_token=1,
        start_mel_token=8192,
        stop_mel_token=8193,
        n_conditioning_latents=32,
    )


def mini_gpt() -> GPT:
    """The mini GPT of the goldens, converted here by hand: conditioners left out, Conv1D transposed."""
    tensors = {
        name: value.t().contiguous() if name.startswith("gpt.h.") and name.endswith(_CONV1D) else value
        for name, value in component_tensors("gpt").items()
        if name.split(".")[0] not in _CONDITIONERS and name not in EXPECTED_EXTRAS
    }
    with torch.device("meta"):
        gpt = GPT(mini_config())
    gpt.load_state_dict(tensors, strict=True, assign=True)
    return gpt.eval().requires_grad_(False)
