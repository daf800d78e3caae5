"""GPTQ: smaller errors of a layer's output on what it sees; the whole GPT, deterministic, in the pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgetts.errors import PackError, UsageError
from edgetts.pack.load import open_pack
from edgetts.pack.schemes import Quantized
from edgetts.quant import calibrate, gptq, hqq
from edgetts.quant.quantize import encode
from edgetts.quant.recipe import CalibrationSettings
from edgetts.quant.schemes import Parts, SchemeRule, round_to_nearest

SETTINGS = CalibrationSettings(n_texts=2, max_codes=12, seed=1, damping=0.01, activation_order=True)
RULES = (
    SchemeRule("gpt.h.0.attn.*", "int8_channel"),
    SchemeRule("gpt.h.1.mlp.*", "plain"),
    SchemeRule("gpt.h.*.weight", "int4_group", 32, "gptq"),
)


def correlated(n: int, width: int) -> Tensor:
    """Inputs as layers see them: a few directions carry most, and some inputs are large."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(n, width // 4, generator=generator) @ torch.randn(width // 4, width, generator=generator)
    return (hidden + 0.3 * torch.randn(n, width, generator=generator)) * (
        1 + 5 * torch.rand(width, generator=generator) ** 8
    )


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("activation_order", [False, True])
def test_outputs_are_closer_than_by_rounding(group: int, activation_order: bool) -> None:
    x = correlated(600, 256)
    weight = torch.randn(48, 256, generator=torch.Generator().manual_seed(1)) * 0.02
    moments = x[:400].t() @ x[:400] / 400

    def error(parts: Parts) -> float:
        decoded = Quantized("int4_group", group, (48, 256), parts).decode()
        return float((x[400:] @ (decoded - weight).t()).square().mean())  # on inputs that were not seen

    rule = SchemeRule("*", "int4_group", group)
    rounded, shifted = error(round_to_nearest("w", weight, rule)), error(hqq.encode("w", weight, rule))
    calibrated = error(gptq.quantize(weight, moments, group, 0.01, activation_order))
    assert calibrated < 0.6 * rounded and calibrated < 0.75 * shifted


def test_inputs_that_are_never_heard_are_rounded() -> None:
    x = correlated(300, 64)
    x[:, 5] = 0
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(1))
    parts = gptq.quantize(weight, x.t() @ x / 300, 32, 0.01, True)
    decoded = Quantized("int4_group", 32, (8, 64), parts).decode()
    step = parts["scales"].float()[:, 0]
    assert ((decoded[:, 5] - weight[:, 5]).abs() <= step * 1.01).all()
    same = gptq.quantize(weight, torch.ones(64, 64), 32, 0.01, True)  # of rank one: damping makes it solvable
    assert torch.isfinite(Quantized("int4_group", 32, (8, 64), same).decode()).all()
    with pytest.raises(PackError, match="not finite"):
        gptq.quantize(weight, torch.full((64, 64), torch.nan), 32, 0.01, True)


def test_the_whole_gpt(mini_pack: Path, mini_voice: Path) -> None:
    pack = open_pack(mini_pack)
    speech = calibrate.Speech(voice=mini_voice)
    steps: list[tuple[str, int, int]] = []
    first = gptq.quantize_gpt(pack, RULES, SETTINGS, speech, encode, lambda *step: steps.append(step))
    n_layers = pack.config.gpt.n_layers
    # Of the four matrices of each block: two of block 0 and two of block 1 are stored otherwise.
    assert len(first) == 4 * n_layers - 4
    assert not any(name.startswith(("gpt.h.0.attn", "gpt.h.1.mlp")) for name in first)
    assert [s for s in steps if s[0] == "calibrating"] == [("calibrating", i, n_layers) for i in range(n_layers)]
    again = gptq.quantize_gpt(pack, RULES, SETTINGS, speech, encode)
    assert all(torch.equal(first[name][part], again[name][part]) for name in first for part in first[name])


def test_what_is_no_linear_of_a_block_is_refused(mini_pack: Path, mini_voice: Path) -> None:
    rules = (SchemeRule("mel_head.weight", "int4_group", 32, "gptq"),)
    with pytest.raises(UsageError, match="mel_head.weight cannot be quantized with gptq"):
        gptq.quantize_gpt(open_pack(mini_pack), rules, SETTINGS, calibrate.Speech(voice=mini_voice), encode)


def test_texts_of_the_user_are_divided() -> None:
    texts = tuple(f"Text number {i}." for i in range(12))
    speech = calibrate.Speech(texts)
    used, held = speech.calibration(("en",), 100), speech.held_out(("en",), 100)
    assert not set(used) & set(held) and sorted((*used, *held)) == sorted(texts)
    ours = calibrate.Speech()
    assert ours.identity() != speech.identity() == calibrate.Speech(texts).identity()
    assert not set(ours.calibration(("zh", "en"), 100)) & set(ours.held_out(("zh", "en"), 100))
    both = ours.calibration(("zh", "en"), 6)
    assert sum(text.isascii() for text in both) == 3
    assert all(text.isascii() for text in ours.calibration(("en",), 100))
