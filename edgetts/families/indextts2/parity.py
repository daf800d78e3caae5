"""Compares a pack with the golden tensors and texts of IndexTTS-2, stage by stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import torch

from edgetts.backends.networks import load_gpt
from edgetts.backends.prepare import prepare_s2mel
from edgetts.decoding.latents import LatentPass
from edgetts.decoding.prompt import GPTPrompt
from edgetts.models import registry
from edgetts.pack.load import Pack
from edgetts.pack.text import tokenizer_of
from edgetts.parity.case import Case, Pair, decoded, first_logits, read_golden, solved
from edgetts.parity.row import Row
from edgetts.text.segment import split_segments
from edgetts.voices.emotion import matrix_rows, merge_vectors, mix_weights

MERGE_ALPHA = 0.6  # of the golden's merged emotion vector
_SEGMENT_LENGTHS = (120, 30)


def _semantic_codec(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    encoder = registry.CODEC_ENCODER.load(pack, device)
    quantizer = registry.QUANTIZER.load(pack, device)
    codes = quantizer.encode(encoder(g["features"].to(device)))
    yield "codes", codes, g["codes"]
    yield "quantized", quantizer.lookup(codes), g["quantized"]
    yield "vq2emb", quantizer.lookup(g["vq2emb_codes"][:, 0].to(device)), g["vq2emb"]


def _gpt_conditioning(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    conditioning = registry.SPEAKER_CONDITIONING.load(pack, device)
    speaker, emotion = g["spk_cond_emb"].to(device), g["emo_cond_emb"].to(device)
    yield "conditioning_latents", conditioning.speaker_latents(speaker), g["conditioning_latents"]
    base, other = conditioning.emotion_vector(speaker), conditioning.emotion_vector(emotion)
    yield "emovec_speaker", base, g["emovec_speaker"]
    yield "emovec_emotion", other, g["emovec_emotion"]
    merged = merge_vectors(base, other, MERGE_ALPHA)
    yield "emovec_merged_alpha_0_6", merged, g["emovec_merged_alpha_0_6"]
    style = read_golden(case.folder, "speaker_encoder")["style"].to(device)
    matrices = pack.state_dict("emotion", device)
    indices, rows = matrix_rows(
        style, matrices["speaker_matrix"], matrices["emotion_matrix"], pack.config.emotion.group_sizes
    )
    weights = tuple(g["emotion_weights"].tolist())
    yield "emotion_indices", indices.to(torch.int32), g["emotion_indices"]
    yield "emotion_matrix_vec", mix_weights(torch.zeros_like(rows[:1]), rows, weights), g["emotion_matrix_vec"]
    if "emovec_from_weights" in g:  # absent where the matrix is wider than the GPT
        yield "emovec_from_weights", mix_weights(merged, rows, weights), g["emovec_from_weights"]


def _gpt(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    gpt = load_gpt(pack, device, case.kernel, case.compute)
    about = json.loads((case.folder / "gpt.json").read_text(encoding="utf-8"))["decode"]
    latents, vector = g["conditioning_latents"].to(device), g["emovec"].to(device)
    text_ids = g["text_ids"].to(device).long()
    greedy = g["greedy_codes"].to(device).long()
    n_steps = g["first_logits"].shape[1]
    prompt = GPTPrompt.build(gpt, latents, vector, text_ids)
    yield "first_logits", first_logits(gpt, prompt.embeddings, greedy[:, : n_steps - 1]), g["first_logits"]
    for n_beams, name in ((1, "greedy_codes"), (3, "beam3_codes")):
        yield name, decoded(gpt, prompt, about, n_beams, about["max_generate_length"]), g[name]
    yield "latents", LatentPass(gpt, prompt).append(greedy[0].tolist()), g["latents"]


def _s2mel(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    s2mel = registry.LATENT_S2MEL.load(pack, device)
    prepare_s2mel(s2mel, case.compute, device)
    quantizer = registry.QUANTIZER.load(pack, device)
    on = {name: value.to(device) for name, value in g.items()}
    projected = s2mel.project_latents(on["latents"])
    yield "gpt_layer_out", projected, g["gpt_layer_out"]
    yield "s_infer", quantizer.lookup(on["codes"].long()) + projected, g["s_infer"]
    for source, target in (("s_ref", "prompt_condition"), ("s_infer", "target_condition")):
        yield target, s2mel.length_regulator(on[source], g[target].shape[1]), g[target]

    condition = torch.cat([on["prompt_condition"], on["target_condition"]], dim=1)
    n_prompt = g["ref_mel"].shape[-1]
    prompt = torch.nn.functional.pad(on["ref_mel"], (0, condition.shape[1] - n_prompt))

    def branches(value: torch.Tensor) -> torch.Tensor:  # with and without condition
        return torch.cat([value, torch.zeros_like(value)])

    estimated = s2mel.cfm.estimator(
        on["noise"].repeat(2, 1, 1),
        branches(prompt),
        on["estimator_t"].expand(2),
        branches(on["style"]),
        branches(condition),
    )
    yield "estimator_out", estimated, g["estimator_out"]
    yield "mel", solved(s2mel, on, on["target_condition"], on["noise"]), g["mel"]


def text_rows(pack: Pack, texts: list[dict[str, Any]]) -> list[Row]:
    """Number of golden texts whose tokens, ids or segments differ."""
    tokenizer = tokenizer_of(pack)
    wrong: dict[str, list[int]] = {"tokens": [], "ids": [], **{f"segments_{n}": [] for n in _SEGMENT_LENGTHS}}
    for i, text in enumerate(texts):
        tokens = tokenizer.tokenize(text["normalized"])
        ours: dict[str, Any] = {"tokens": tokens, "ids": tokenizer.ids(tokens)}
        ours |= {f"segments_{n}": split_segments(tokens, n) for n in _SEGMENT_LENGTHS}
        for name, which in wrong.items():
            if ours[name] != text[name]:
                which.append(i)
    return [
        Row("text", name, float(len(which)), 0.0, f"{len(texts)} texts" + (f", differs in {which}" if which else ""))
        for name, which in wrong.items()
    ]


# Stages that share the tolerance of another.
COMPUTED_LIKE: dict[str, str] = {}

COMPARE: dict[str, Callable[[Case], Iterator[Pair]]] = {
    "semantic_codec": _semantic_codec,
    "gpt_conditioning": _gpt_conditioning,
    "gpt": _gpt,
    "s2mel": _s2mel,
}
