"""Compares a pack with the golden tensors of IndexTTS-2.5, stage by stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from edgetts.backends.networks import load_gpt
from edgetts.backends.prepare import prepare_s2mel, prepare_vocoder
from edgetts.decoding.prompt import GPTPrompt
from edgetts.families.indextts25.codec_decoder import CodecDecoder
from edgetts.families.indextts25.conditioning import StyleConditioning
from edgetts.families.indextts25.gpt import LanguageGPT
from edgetts.models import registry
from edgetts.models.repcodec import Quantizer
from edgetts.pack.load import Pack
from edgetts.pack.text import tokenizer_of
from edgetts.parity.case import Case, Pair, decoded, first_logits, read_golden, solved
from edgetts.parity.row import Row
from edgetts.text.multilingual.segment import segment_edges
from edgetts.text.multilingual.tokenizer import BytePairTokenizer
from edgetts.voices.emotion import EMOTIONS, Emotion, matrix_rows, merge_vectors, mix_weights

MERGE_ALPHA = 0.6  # of the golden's merged emotion vector
_SEGMENT_LENGTHS = (120, 30)
_PREFIXES = ("plain", "dropped", "empty")
_DURATIONS = ("0_8", "1_25")


def _gpt_of(case: Case) -> LanguageGPT:
    gpt = load_gpt(case.pack, case.device, case.kernel, case.compute)
    assert isinstance(gpt, LanguageGPT)
    return gpt


def _codec_of(case: Case) -> tuple[Quantizer, CodecDecoder]:
    decoder = registry.component("codec_decoder").load(case.pack, case.device)
    assert isinstance(decoder, CodecDecoder)
    return registry.QUANTIZER.load(case.pack, case.device), decoder


def _conditioning(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    conditioning = registry.CONDITIONING.load(pack, device)
    assert isinstance(conditioning, StyleConditioning)
    speaker, emotion, style = (g[name].to(device) for name in ("spk_cond_emb", "emo_cond_emb", "style"))
    token = conditioning.speaker_token(style)
    yield "speaker_token", token, g["speaker_token"]
    base, other = conditioning.emotion_vector(speaker), conditioning.emotion_vector(emotion)
    yield "emovec_speaker", base, g["emovec_speaker"]
    yield "emovec_emotion", other, g["emovec_emotion"]
    merged = merge_vectors(base, other, MERGE_ALPHA)
    yield "emovec_merged_alpha_0_6", merged, g["emovec_merged_alpha_0_6"]
    yield from _emotion_weights(case, style, base)
    yield from _prefixes(case, token, merged)


def _emotion_weights(case: Case, style: Tensor, base: Tensor) -> Iterator[Pair]:
    pack, g = case.pack, case.golden
    matrices = pack.state_dict("emotion", case.device)
    indices, rows = matrix_rows(
        style, matrices["speaker_matrix"], matrices["emotion_matrix"], pack.config.emotion.group_sizes
    )
    given = dict(zip(EMOTIONS, g["emotion_weights_in"].tolist(), strict=True))
    weights = Emotion(given, alpha=round(float(g["emotion_alpha"]), 6)).effective_weights()
    yield "emotion_weights", torch.tensor(weights), g["emotion_weights"]
    given = dict(zip(EMOTIONS, g["web_weights_in"].tolist(), strict=True))
    yield "web_weights", torch.tensor(Emotion(given, cap=True).effective_weights()), g["web_weights"]
    yield "emotion_indices", indices.to(torch.int32), g["emotion_indices"]
    yield "emotion_matrix_vec", mix_weights(torch.zeros_like(rows[:1]), rows, weights), g["emotion_matrix_vec"]
    if "emovec_weights" in g:  # absent where the matrix is wider than the GPT
        yield "emovec_weights", mix_weights(base, rows, weights), g["emovec_weights"]


def _prefixes(case: Case, token: Tensor, merged: Tensor) -> Iterator[Pair]:
    """The GPT's input embeddings, and its hidden states for them."""
    g, gpt = case.golden, _gpt_of(case)
    about = json.loads((case.folder / "gpt.json").read_text(encoding="utf-8"))["decode"]
    yield "cond_tokens", gpt.condition(token, merged), g["cond_tokens"]
    ids = g["lang_ids"].tolist()
    yield "lang_rows", torch.cat([gpt.language_row(i).view(1, -1) for i in ids]), g["lang_rows"]
    for name in _PREFIXES:
        prompt = GPTPrompt.build(gpt, token, merged, g[f"{name}_text_ids"].long(), int(g[f"{name}_lang"]))
        yield f"{name}_prefix", prompt.embeddings, g[f"{name}_prefix"]
        codes = g[f"{name}_greedy_codes"]
        n_steps = g[f"{name}_first_logits"].shape[1]
        logits = first_logits(gpt, prompt.embeddings, codes[:, : n_steps - 1].long().to(case.device))
        yield f"{name}_first_logits", logits, g[f"{name}_first_logits"]
        yield f"{name}_greedy_codes", decoded(gpt, prompt, about, 1, codes.shape[1]), codes
    n_codes = g["lang_greedy_codes"].shape[1]
    plain = g["plain_text_ids"].long()
    spoken = [decoded(gpt, GPTPrompt.build(gpt, token, merged, plain, i), about, 1, n_codes) for i in ids]
    yield "lang_greedy_codes", torch.cat(spoken), g["lang_greedy_codes"]
    positions = g["step_positions"].long().to(case.device)
    fed = torch.cat([torch.tensor([[gpt.config.start_mel_token]]), g["plain_greedy_codes"].long()], dim=1)
    yield "step_inputs", gpt.mel_embed(fed[:, : len(positions)].to(case.device), positions), g["step_inputs"]


def _gpt(case: Case) -> Iterator[Pair]:
    g, device, gpt = case.golden, case.device, _gpt_of(case)
    about = json.loads((case.folder / "gpt.json").read_text(encoding="utf-8"))["decode"]
    prompt = GPTPrompt.build(
        gpt, g["speaker_token"].to(device), g["emovec"].to(device), g["text_ids"].long(), int(g["lang"])
    )
    codes = g["greedy_codes"].to(device).long()
    n_steps = g["first_logits"].shape[1]
    yield "first_logits", first_logits(gpt, prompt.embeddings, codes[:, : n_steps - 1]), g["first_logits"]
    for n_beams, name in ((1, "greedy_codes"), (3, "beam3_codes")):
        yield name, decoded(gpt, prompt, about, n_beams, about["max_generate_length"]), g[name]


def _codec_decoder(case: Case) -> Iterator[Pair]:
    quantizer, decoder = _codec_of(case)
    codes = case.golden["codes"].long().to(case.device)
    yield "features", decoder(quantizer.lookup(codes)), case.golden["features"]


def _codec_stages(case: Case) -> Iterator[Pair]:
    quantizer, decoder = _codec_of(case)
    quantized = quantizer.lookup(case.golden["codes"].long().to(case.device))
    yield "quantized", quantized.mT, case.golden["quantized"]
    yield "decoded", decoder.decode(quantized), case.golden["decoded"]


def _prompt_condition(case: Case) -> Iterator[Pair]:
    g, s2mel = case.golden, registry.S2MEL.load(case.pack, case.device)
    condition = s2mel.length_regulator(g["features"].to(case.device), int(g["ref_mel_frames"]))
    yield "prompt_condition", condition, g["prompt_condition"]


def _s2mel(case: Case) -> Iterator[Pair]:
    g, device = case.golden, case.device
    s2mel = registry.S2MEL.load(case.pack, device)
    prepare_s2mel(s2mel, case.compute, device)
    on = {name: value.to(device) for name, value in g.items()}
    target = s2mel.length_regulator(on["features"], _target_length(case, g["features"], 1.0))
    yield "target_condition", target, g["target_condition"]
    yield "mel", solved(s2mel, on, on["target_condition"], on["noise"]), g["mel"]


def _duration(case: Case) -> Iterator[Pair]:
    g, device = case.golden, case.device
    s2mel = registry.S2MEL.load(case.pack, device)
    prepare_s2mel(s2mel, case.compute, device)
    on = {name: value.to(device) for name, value in {**read_golden(case.folder, "s2mel"), **g}.items()}
    for name in _DURATIONS:
        factor = float(name.replace("_", "."))
        length = _target_length(case, on["features"], factor)
        yield f"target_length_{name}", torch.tensor([length], dtype=torch.int32), g[f"target_length_{name}"]
        target = s2mel.length_regulator(on["features"], length)
        yield f"target_condition_{name}", target, g[f"target_condition_{name}"]
        given = on[f"target_condition_{name}"]
        yield f"mel_{name}", solved(s2mel, on, given, on[f"noise_{name}"]), g[f"mel_{name}"]


def _pipeline(case: Case) -> Iterator[Pair]:
    """Whole texts: each stage gets the output of the stage before."""
    g, device = case.golden, case.device
    voice, acoustic = read_golden(case.folder, "gpt"), read_golden(case.folder, "s2mel")
    about = json.loads((case.folder / "pipeline.json").read_text(encoding="utf-8"))
    gpt, (quantizer, decoder) = _gpt_of(case), _codec_of(case)
    s2mel = registry.S2MEL.load(case.pack, device)
    prepare_s2mel(s2mel, case.compute, device)
    vocoder, _ = prepare_vocoder(registry.VOCODER.load(case.pack, device), case.compute, device)
    on = {name: value.to(device) for name, value in acoustic.items()}
    token, vector = voice["speaker_token"].to(device), voice["emovec"].to(device)
    for i, said in enumerate(about["cases"]):
        prompt = GPTPrompt.build(gpt, token, vector, g[f"{i}_text_ids"].long(), int(g[f"{i}_lang"]))
        codes = decoded(gpt, prompt, about["decode"], 1, said["max_generate_length"])
        yield f"{i}_codes", codes, g[f"{i}_codes"]
        features = decoder(quantizer.lookup(codes.long().to(device)))
        yield f"{i}_features", features, g[f"{i}_features"]
        length = _target_length(case, features, 1.0)
        yield f"{i}_target_length", torch.tensor([length], dtype=torch.int32), g[f"{i}_target_length"]
        target = s2mel.length_regulator(features, length)
        yield f"{i}_target_condition", target, g[f"{i}_target_condition"]
        mel = solved(s2mel, on, target, g[f"{i}_noise"].to(device))
        yield f"{i}_mel", mel, g[f"{i}_mel"]
        yield f"{i}_audio", vocoder(mel).float().view(1, -1), g[f"{i}_audio"]


def _target_length(case: Case, features: Tensor, factor: float) -> int:
    config = case.pack.config
    n_codes = features.shape[1] // config.features_per_code
    return int(n_codes * config.s2mel.mel_frames_per_code * factor)


def text_rows(pack: Pack, texts: list[dict[str, Any]]) -> list[Row]:
    """Number of golden texts, in the form for the model, whose segments or ids differ."""
    tokenizer = tokenizer_of(pack)
    assert isinstance(tokenizer, BytePairTokenizer)
    wrong: dict[str, list[int]] = {f"{kind}_{n}": [] for n in _SEGMENT_LENGTHS for kind in ("segments", "ids")}
    for i, text in enumerate(texts):
        for length in _SEGMENT_LENGTHS:
            edges = segment_edges(text["final"], length, tokenizer.count(text["prefix"]), tokenizer.count)
            segments = [text["final"][start:stop] for start, stop in pairwise(edges)]
            ids = [list(tokenizer.segment_ids(segment, text["lang"])) for segment in segments]
            for kind, ours in (("segments", segments), ("ids", ids)):
                if ours != text[f"{kind}_{length}"]:
                    wrong[f"{kind}_{length}"].append(i)
    return [
        Row("text", name, float(len(which)), 0.0, f"{len(texts)} texts" + (f", differs in {which}" if which else ""))
        for name, which in wrong.items()
    ]


# Stages that share the tolerance of another.
COMPUTED_LIKE: dict[str, str] = {"conditioning": "gpt", "duration": "s2mel", "pipeline": "gpt"}

COMPARE: dict[str, Callable[[Case], Iterator[Pair]]] = {
    "conditioning": _conditioning,
    "gpt": _gpt,
    "codec_decoder": _codec_decoder,
    "codec_stages": _codec_stages,
    "prompt_condition": _prompt_condition,
    "s2mel": _s2mel,
    "duration": _duration,
    "pipeline": _pipeline,
}
