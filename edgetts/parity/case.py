"""One stage of a golden folder, and functions that the comparisons of several families share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from edgetts.compute import Compute
from edgetts.decoding.decode import generate_codes
from edgetts.decoding.flow import solve_flow
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.settings import DecodeSettings, FlowSettings
from edgetts.errors import UsageError
from edgetts.models.gpt import GPT
from edgetts.models.s2mel import S2Mel

if TYPE_CHECKING:
    from edgetts.pack.load import Pack

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


def decoded(gpt: GPT, prompt: GPTPrompt, about: dict[str, Any], n_beams: int, n_codes: int) -> torch.Tensor:
    """Codes (1, T) by greedy search, or by a deterministic beam search. about: how upstream decoded."""
    settings = DecodeSettings(
        do_sample=False,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=about["repetition_penalty"],
        length_penalty=about["length_penalty"],
        n_beams=n_beams,
        max_codes=n_codes,
    )
    return torch.tensor([generate_codes(gpt, prompt, settings, torch.Generator()).codes], dtype=torch.int32)


def solved(s2mel: S2Mel, on: Golden, target: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Mel (1, M, F) of the new frames: the whole flow from injected noise. on: tensors of a golden s2mel."""
    condition = torch.cat([on["prompt_condition"], target], dim=1)
    settings = FlowSettings(n_steps=int(on["steps"]), solver="euler", cfg_rate=float(on["cfg_rate"]))
    mel = solve_flow(s2mel.cfm.estimator, noise, on["ref_mel"], condition, on["style"], settings)
    return mel[:, :, on["ref_mel"].shape[-1] :]


def first_logits(gpt: GPT, prefix: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Raw logits (1, T + 1, V) of the cached decoding of codes (1, T): positions 0, 2, 3, 4, ... after the prefix."""
    start = torch.full_like(codes[:, :1], gpt.config.start_mel_token)
    fed = torch.cat([start, codes], dim=1)
    positions = torch.arange(fed.shape[1], device=fed.device)
    positions[1:] += 1
    embeddings = torch.cat([prefix, gpt.mel_embed(fed, positions)], dim=1)
    return gpt.logits(gpt(embeddings)[:, -fed.shape[1] :])


def golden_path(folder: Path, stage: str) -> Path:
    return folder / ("text.json" if stage == "text" else f"{stage}.safetensors")


def read_golden(folder: Path, stage: str) -> Golden:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = golden_path(folder, stage)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"Cannot read the golden file {path}: {error}.") from error
