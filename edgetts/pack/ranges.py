"""The allowed ranges of a model's dimensions, in one table.

In: the `model` table of a manifest as plain JSON values. Out: every number outside its range. The check comes before
any network is built, so impossible dimensions cost no memory. Relations between dimensions are in `relations`.

The ranges are wide: they allow any model of this family that a small machine could run, and exclude division by zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgetts.pack.plain_json import shown

MAX_ENTRIES = 64  # of a list of numbers


@dataclass(frozen=True)
class Range:
    """From `least` to `most`, inclusive. odd: only odd numbers (centered kernels)."""

    least: float
    most: float
    odd: bool = False

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most and not (self.odd and value % 2 == 0)

    def __str__(self) -> str:
        kind = "odd numbers " if self.odd else ""
        return f"{kind}{self.least:g} to {self.most:g}"


NONE: Mapping[str, Range] = {}
WIDTH = Range(1, 16_384)
HEADS = Range(1, 256)
LAYERS = Range(1, 128)
KERNEL = Range(1, 255, odd=True)
TOKENS = Range(3, 1_000_000)
TOKEN = Range(0, 1_000_000)
POSITIONS = Range(8, 65_536)
SAMPLES = Range(16, 16_384)

# By field name, which has one meaning in all tables. Entries of a list use the list's name.
RANGES: dict[str, Range] = {
    # rates
    "code_rate": Range(5, 200),  # codes per second
    "sample_rate": Range(8_000, 192_000),  # Hz
    "n_fft": SAMPLES,
    "hop_length": SAMPLES,
    "fmin": Range(0, 20_000),  # Hz
    "fmax": Range(100, 96_000),  # Hz
    "mel_frames_per_code": Range(0.1, 50),
    # tables of tokens and codes
    "silence_code": TOKEN,
    "codebook_size": TOKENS,
    "codebook_dim": WIDTH,
    "n_text_tokens": TOKENS,
    "n_mel_codes": TOKENS,
    "n_text_positions": POSITIONS,
    "n_mel_positions": POSITIONS,
    "start_text_token": TOKEN,
    "stop_text_token": TOKEN,
    "start_mel_token": TOKEN,
    "stop_mel_token": TOKEN,
    "group_sizes": Range(1, 10_000),
    # widths
    "n_mels": Range(8, 512),
    "feature_dim": WIDTH,
    "hidden_size": WIDTH,
    "intermediate_size": Range(1, 65_536),
    "vocos_dim": WIDTH,
    "vocos_intermediate_dim": Range(1, 65_536),
    "embedding_size": WIDTH,
    "front_channels": WIDTH,
    "init_channels": WIDTH,
    "growth_rate": WIDTH,
    "bottleneck_factor": Range(1, 64),
    "input_size": WIDTH,
    "output_size": Range(2, 16_384),
    "linear_units": Range(1, 65_536),
    "dim": WIDTH,
    "dim_context": WIDTH,
    "head_dim": Range(1, 1_024),
    "ff_mult": Range(1, 64),
    "model_dim": WIDTH,
    "in_channels": WIDTH,
    "channels": WIDTH,
    "out_channels": WIDTH,
    "hidden_dim": Range(2, 16_384),
    "ffn_dim": Range(1, 65_536),
    "content_dim": WIDTH,
    "style_dim": WIDTH,
    "time_frequency_dim": Range(2, 16_384),
    "latent_projection_dims": WIDTH,
    "upsample_initial_channel": WIDTH,
    # how many
    "n_layers": LAYERS,
    "vocos_n_layers": LAYERS,
    "n_blocks": LAYERS,
    "n_convs": LAYERS,
    "depth": LAYERS,
    "block_layers": LAYERS,
    "n_heads": HEADS,
    "n_latents": Range(1, 1_024),
    "n_conditioning_latents": Range(1, 1_024),
    "left_max_positions": Range(0, 4_096),
    "right_max_positions": Range(0, 4_096),
    # convolutions
    "conv_kernel_size": KERNEL,
    "kernel_size": KERNEL,
    "block_kernel_sizes": KERNEL,
    "block_dilations": Range(1, 64),
    "dilation_rate": Range(1, 8),
    "upsample_rates": Range(1, 256),
    "upsample_kernel_sizes": Range(1, 512),
    "resblock_kernel_sizes": KERNEL,
    "resblock_dilation_sizes": Range(1, 64),
    # the vocoder at the frame rate
    "frames_per_mel": Range(1, 256),
    "lowest": Range(1e-3, 100),  # periods per mel frame
    "classes_per_octave": Range(1, 1_200),
    "n_classes": Range(2, 10_000),
    # numerics
    "layer_norm_eps": Range(1e-12, 1e-2),
}


def out_of_range(value: Any, own: Mapping[str, Range] = NONE, path: str = "") -> Iterator[str]:
    """Every number outside its range and every list that is too long, one phrase each. own: ranges of the family."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from out_of_range(item, own, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        if len(value) > MAX_ENTRIES:
            yield f"{path} has {len(value)} entries, more than {MAX_ENTRIES}"
            return
        for i, item in enumerate(value):
            yield from out_of_range(item, own, f"{path}[{i}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        name = re.sub(r"(\[\d+\])+$", "", path.rpartition(".")[2])
        allowed = own[name] if name in own else RANGES[name]
        if value not in allowed:
            yield f"{path} is {shown(value)}, allowed is {allowed}"
