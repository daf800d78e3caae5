"""Parity: feeds the golden inputs of every stage to a pack and compares its outputs with the golden ones.

In: an open pack and a folder of golden `.safetensors` (one per stage) and `text.json`, computed by the
upstream implementation. Out: one `Row` per tensor with the largest error in standard deviations of
the golden tensor. Every stage gets golden inputs, so an error shows in the stage that makes it. The README beside the
golden files says what each tensor means and where it is from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from edgetts.audio import features
from edgetts.backends.kernels import AUTO, wanted_kernel
from edgetts.backends.numbers import dtype_name, numbers_of
from edgetts.backends.prepare import prepare_vocoder
from edgetts.compute import DEFAULT_COMPUTE, Compute, check_compute
from edgetts.errors import UsageError
from edgetts.families import family_of
from edgetts.models import registry
from edgetts.parity.case import Case, Pair, golden_path, read_golden
from edgetts.parity.row import TOLERANCES, Row, compare
from edgetts.voices import enroll

if TYPE_CHECKING:
    from edgetts.pack.load import Pack


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
    in mode `reference`, which dequantizes them. Raises UsageError for a folder without golden files, an unknown
    stage or compute mode.
    """
    check_compute(compute)
    folder, family = Path(golden_dir), family_of(pack.config).part("parity")
    comparisons: dict[str, Callable[[Case], Iterator[Pair]]] = {**_BEFORE, **family.COMPARE, **_AFTER}
    if component is not None and component not in ("text", *comparisons):
        raise UsageError(f"Unknown component {component!r}: known are {', '.join(('text', *comparisons))}.")
    stages = [s for s in ("text", *comparisons) if component in (None, s)]
    present = [s for s in stages if golden_path(folder, s).is_file()]
    if not present:
        wanted = ", ".join(golden_path(folder, s).name for s in stages)
        raise UsageError(f"{folder} holds none of the golden files {wanted}; give the folder that has them.")
    stored = TOLERANCES[_widest_rounding(pack)]
    on = device or _CPU
    rows: list[Row] = []
    for i, stage in enumerate(present):
        if progress is not None:
            progress(stage, i / len(present))
        if stage == "text":
            rows += family.text_rows(pack, json.loads(golden_path(folder, stage).read_text(encoding="utf-8")))
            continue
        golden = read_golden(folder, stage)
        computed_in = _computed_in(family.COMPUTED_LIKE.get(stage, stage), on, compute)
        limit = tolerance
        if limit is None:
            limit = max(stored, TOLERANCES[computed_in])
        case = Case(pack, golden, folder, on, compute, wanted_kernel(kernel, compute))
        found = [compare(stage, *pair, limit) for pair in comparisons[stage](case)]
        rows += found if computed_in == "float32" else [_other_codes(row) for row in found]
    return rows


def _computed_in(stage: str, device: torch.device, compute: Compute) -> str:
    """The dtype of most of a stage's arithmetic."""
    numbers = numbers_of(device, compute)
    return dtype_name({"gpt": numbers.gpt, "s2mel": numbers.dit, "vocoder": numbers.vocoder}.get(stage, torch.float32))


def _other_codes(row: Row) -> Row:
    """In half precision decoding may choose the other of two equally good codes, and all later codes then differ.

    So codes that differ are counted but not judged; logits and latents are, because they are computed from the golden
    codes.
    """
    if not row.tensor.endswith("_codes"):
        return row
    return Row(row.stage, row.tensor, row.error, float("inf"), f"{row.detail.partition(',')[0]}, in half precision")


_CPU = torch.device("cpu")


def _widest_rounding(pack: Pack) -> str:
    """The dtype with the largest rounding error among the pack's components."""
    stored = {component.dtype for component in pack.manifest.components.values()}
    return "float16" if "float16" in stored else "float32"


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
    frontend = read_golden(case.folder, "frontend")
    encoder = registry.SEMANTIC_ENCODER.load(pack, device)
    stats = pack.state_dict("semantic_statistics", device)
    for prefix, normalized in (("", "spk_cond_emb"), ("emo_", "emo_cond_emb")):
        mask = frontend[f"{prefix}w2v_attention_mask"].to(device)
        hidden = encoder(frontend[f"{prefix}w2v_features"].to(device), mask)
        yield f"{prefix}hidden_17", hidden, g[f"{prefix}hidden_17"]
        if normalized in g:
            yield normalized, (hidden - stats["mean"]) / stats["std"], g[normalized]


def _speaker_encoder(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    encoder = registry.SPEAKER_ENCODER.load(pack, device)
    yield "style", encoder(g["fbank"].unsqueeze(0).to(device)), g["style"]


def _vocoder(case: Case) -> Iterator[Pair]:
    pack, g, device = case.pack, case.golden, case.device
    plain = registry.VOCODER.load(pack, device)
    vocoder, _ = prepare_vocoder(plain, case.compute, device)
    yield "audio", vocoder(g["mel"].to(device)).unsqueeze(1), g["audio"]


# Stages that all families have, before and after those of one family (`parity.py` in its folder).
_BEFORE: dict[str, Callable[[Case], Iterator[Pair]]] = {
    "frontend": _frontend,
    "semantic_encoder": _semantic_encoder,
    "speaker_encoder": _speaker_encoder,
}
_AFTER: dict[str, Callable[[Case], Iterator[Pair]]] = {"vocoder": _vocoder}
