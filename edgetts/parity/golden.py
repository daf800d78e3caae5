"""Parity: feed the golden inputs of every stage through a pack and compare what comes out.

In: an open pack and a folder of golden `.safetensors` (one per stage) and `text.json`, computed by the
upstream implementation. Out: one `Row` per tensor with the largest error in units of the golden's
standard deviation. Every stage gets golden inputs, so that an error shows where it is made.
The sources of the numbers and what each tensor means: the README beside the goldens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from edgetts.audio import features
from edgetts.backends.kernels import AUTO, wanted_kernel
from edgetts.backends.networks import load_gpt
from edgetts.backends.numbers import dtype_name, numbers_of
from edgetts.backends.prepare import prepare_s2mel, prepare_vocoder
from edgetts.compute import DEFAULT_COMPUTE, Compute, check_compute
from edgetts.decoding.decode import generate_codes
from edgetts.decoding.flow import solve_flow
from edgetts.decoding.latents import LatentPass
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.settings import DecodeSettings, FlowSettings
from edgetts.errors import UsageError
from edgetts.models import registry
from edgetts.models.gpt import GPT
from edgetts.pack.text import tokenizer_of
from edgetts.parity.row import TOLERANCES, Row, compare
from edgetts.text.segment import split_segments
from edgetts.voices import enroll
from edgetts.voices.emotion import matrix_rows, merge_vectors, mix_weights

if TYPE_CHECKING:
    from edgetts.pack.load import Pack

_MERGE_ALPHA = 0.6  # of the golden's merged emotion vector
_SEGMENT_LENGTHS = (120, 30)

Golden = dict[str, torch.Tensor]
Pair = tuple[str, torch.Tensor, torch.Tensor]  # name, ours, golden


@dataclass(frozen=True)
class Case:
    """One stage to compare: the pack, the stage's golden tensors, and how to compute."""

    pack: Pack
    golden: Golden
    folder: Path  # of all golden files
    device: torch.device
    compute: Compute
    kernel: str  # multiplies by the GPT's quantized weights


@torch.inference_mode()
def validate(
    pack: Pack,
    golden_dir: str | Path,
    component: str | None = None,
    *,
    device: torch.device | None = None,
    tolerance: float | None = None,
    compute: Compute = DEFAULT_COMPUTE,
    kernel: str = AUTO,
    progress: Callable[[str, float], None] | None = None,
) -> list[Row]:
    """Compare every golden tensor of the folder, or those of the stage `component`.

    tolerance: in standard deviations; None takes TOLERANCES for the pack's dtype, or for the coarser one that a stage
    is computed in. Codes must be equal. compute: the compute mode. kernel: for quantized weights of the GPT; not used
    in mode `reference`, which dequantizes them. Raises UsageError for a folder without goldens and for an unknown stage
    or compute mode.
    """
    check_compute(compute)
    folder = Path(golden_dir)
    if component is not None and component not in STAGES:
        raise UsageError(f"Unknown component {component!r}: known are {', '.join(STAGES)}.")
    present = [s for s in STAGES if _golden_path(folder, s).is_file() and component in (None, s)]
    if not present:
        wanted = ", ".join(_golden_path(folder, s).name for s in STAGES if component in (None, s))
        raise UsageError(f"{folder} holds none of the golden files {wanted}: give the folder that does.")
    stored = TOLERANCES[_widest_rounding(pack)]
    on = device or _CPU
    rows: list[Row] = []
    for i, stage in enumerate(present):
        if progress is not None:
            progress(stage, i / len(present))
        if stage == "text":
            rows += _text_rows(pack, json.loads(_golden_path(folder, stage).read_text(encoding="utf-8")))
            continue
        golden = _read(folder, stage)
        limit = tolerance
        if limit is None:
            limit = max(stored, TOLERANCES[_computed_in(stage, on, compute)])
        case = Case(pack, golden, folder, on, compute, wanted_kernel(kernel, compute))
        found = [compare(stage, *pair, limit) for pair in _COMPARE[stage](case)]
        rows += found if _computed_in(stage, on, compute) == "float32" else [_other_codes(row) for row in found]
    return rows


def _computed_in(stage: str, device: torch.device, compute: Compute) -> str:
    """The dtype of most of a stage's arithmetic."""
    numbers = numbers_of(device, compute)
    return dtype_name({"gpt": numbers.gpt, "s2mel": numbers.dit, "vocoder": numbers.vocoder}.get(stage, torch.float32))


def _other_codes(row: Row) -> Row:
    """In half precision a search may choose another of two codes that are equally good, and goes on from there.

    The number of codes that differ is reported; logits and latents are judged, which are fed the golden's codes.
    """
    if not row.tensor.endswith("_codes"):
        return row
    return Row(row.stage, row.tensor, row.error, float("inf"), f"{row.detail.partition(',')[0]}, in half precision")


_CPU = torch.device("cpu")


def _widest_rounding(pack: Pack) -> str:
    """The dtype with the largest rounding error among the pack's components."""
    stored = {component.dtype for component in pack.manifest.components.values()}
    return "float16" if "float16" in stored else "float32"


def _golden_path(folder: Path, stage: str) -> Path:
    return folder / ("text.json" if stage == "text" else f"{stage}.safetensors")


def _read(folder: Path, stage: str) -> Golden:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = _golden_path(folder, stage)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"Cannot read the golden file {path}: {error}.") from error


# --- one function per golden file ------------------------------------------------------------------


def _frontend(case: Case) -> Iterator[Pair]:
    pack, g = case.pack, case.golden
    fbank = features.kaldi_fbank(g["audio_16k"][0])
    yield "kaldi_fbank_mean_normalised", fbank - fbank.mean(0, keepdim=True), g["kaldi_fbank_mean_normalised"]
    yield "mel_22k", enroll.mel_spectrogram(pack, g["audio_22k"][0]), g["mel_22k"]
    for prefix, audio in (("", "audio_16k"), ("emo_", "emo_audio_16k")):
        inputs, mask = features.semantic_features(g[audio][0])
        yield f"{prefix}w2v_features", inputs, g[f"{prefix}w2v_features"]
        yield f"{prefix}w2v_attention_mask", mask.to(torch.int32), g[f"{prefix}w2v_attention_mask"]


def _semantic_encoder(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    frontend = _read(case.folder, "frontend")
    encoder = registry.SEMANTIC_ENCODER.load(pack, device)
    stats = pack.state_dict("semantic_statistics", device)
    for prefix, normalized in (("", "spk_cond_emb"), ("emo_", "emo_cond_emb")):
        mask = frontend[f"{prefix}w2v_attention_mask"].to(device)
        hidden = encoder(frontend[f"{prefix}w2v_features"].to(device), mask)
        yield f"{prefix}hidden_17", hidden, g[f"{prefix}hidden_17"]
        if normalized in g:
            yield normalized, (hidden - stats["mean"]) / stats["std"], g[normalized]


def _semantic_codec(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    encoder = registry.CODEC_ENCODER.load(pack, device)
    quantizer = registry.QUANTIZER.load(pack, device)
    codes = quantizer.encode(encoder(g["features"].to(device)))
    yield "codes", codes, g["codes"]
    yield "quantized", quantizer.lookup(codes), g["quantized"]
    yield "vq2emb", quantizer.lookup(g["vq2emb_codes"][:, 0].to(device)), g["vq2emb"]


def _speaker_encoder(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    encoder = registry.SPEAKER_ENCODER.load(pack, device)
    yield "style", encoder(g["fbank"].unsqueeze(0).to(device)), g["style"]


def _gpt_conditioning(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    conditioning = registry.CONDITIONING.load(pack, device)
    speaker, emotion = g["spk_cond_emb"].to(device), g["emo_cond_emb"].to(device)
    yield "conditioning_latents", conditioning.speaker_latents(speaker), g["conditioning_latents"]
    base, other = conditioning.emotion_vector(speaker), conditioning.emotion_vector(emotion)
    yield "emovec_speaker", base, g["emovec_speaker"]
    yield "emovec_emotion", other, g["emovec_emotion"]
    merged = merge_vectors(base, other, _MERGE_ALPHA)
    yield "emovec_merged_alpha_0_6", merged, g["emovec_merged_alpha_0_6"]
    style = _read(case.folder, "speaker_encoder")["style"].to(device)
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
    yield "first_logits", _first_logits(gpt, prompt, greedy[:, : n_steps - 1]), g["first_logits"]
    for n_beams, name in ((1, "greedy_codes"), (3, "beam3_codes")):
        settings = DecodeSettings(
            do_sample=about["do_sample"],
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            repetition_penalty=about["repetition_penalty"],
            length_penalty=about["length_penalty"],
            n_beams=n_beams,
            max_codes=about["max_generate_length"],
        )
        result = generate_codes(gpt, prompt, settings, torch.Generator(device=device))
        yield name, torch.tensor([result.codes], dtype=torch.int32), g[name]
    yield "latents", LatentPass(gpt, prompt).append(greedy[0].tolist()), g["latents"]


def _first_logits(gpt: GPT, prompt: GPTPrompt, codes: torch.Tensor) -> torch.Tensor:
    """Raw logits (1, T + 1, V) of the cached decoding of codes (1, T): positions 0, 2, 3, 4, ..."""
    start = torch.full_like(codes[:, :1], gpt.config.start_mel_token)
    fed = torch.cat([start, codes], dim=1)
    positions = torch.arange(fed.shape[1], device=fed.device)
    positions[1:] += 1
    embeddings = torch.cat([prompt.embeddings, gpt.mel_embed(fed, positions)], dim=1)
    return gpt.logits(gpt(embeddings)[:, -fed.shape[1] :])


def _s2mel(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    s2mel = registry.S2MEL.load(pack, device)
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
    settings = FlowSettings(n_steps=int(g["steps"]), solver="euler", cfg_rate=float(g["cfg_rate"]))
    mel = solve_flow(s2mel.cfm.estimator, on["noise"], on["ref_mel"], condition, on["style"], settings)
    yield "mel", mel[:, :, n_prompt:], g["mel"]


def _vocoder(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    plain = registry.VOCODER.load(pack, device)
    vocoder, _ = prepare_vocoder(plain, case.compute, device)
    yield "audio", vocoder(g["mel"].to(device)).unsqueeze(1), g["audio"]


def _text_rows(pack: Pack, texts: list[dict[str, Any]]) -> list[Row]:
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


_COMPARE: dict[str, Callable[[Case], Iterator[Pair]]] = {
    "frontend": _frontend,
    "semantic_encoder": _semantic_encoder,
    "semantic_codec": _semantic_codec,
    "speaker_encoder": _speaker_encoder,
    "gpt_conditioning": _gpt_conditioning,
    "gpt": _gpt,
    "s2mel": _s2mel,
    "vocoder": _vocoder,
}
STAGES = ("text", *_COMPARE)  # text.json holds no tensors: _text_rows compares it
