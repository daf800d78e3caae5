"""Greedy codes of the built-in model by every kernel of the CPU, over 200 codes and more.

Where the arithmetic is exact up to rounding, the codes are those of the dequantized network. That is the case for
the compiled kernels as they are chosen by themselves, whose activations have 15 bits (`native`), in the fused
decoding step and out of it: `--compute exact`. Only where the reference has two codes that are likely to within `TIE`
may rounding decide; from there on they are different texts. Where activations have 8 bits (`native-int8`:
`--compute fast`) or products are made in bfloat16 (`aten`), codes are compared step by step, with the codes of the
reference fed.
"""

from __future__ import annotations

from functools import cache
from typing import get_args

import pytest
import torch
from helpers.tiny_gpt import CPU, Prompt, prompts, tiny_gpt

from edgetts.backends.fused_step import fused_step
from edgetts.backends.kernels import DEQUANTIZED, KernelChoice
from edgetts.compute import Compute
from edgetts.decoding.decode import generate_codes
from edgetts.decoding.settings import DecodeSettings
from edgetts.models.gpt import GPT, KVCache
from edgetts.native.library import Isa, Library, find_library
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pack.schemes import Quantized

GREEDY = DecodeSettings(do_sample=False, n_beams=1, repetition_penalty=1.0, max_codes=400)
BEAMS = DecodeSettings(do_sample=False, n_beams=3, repetition_penalty=1.0, length_penalty=1.0, max_codes=60)
AT_LEAST = 200
TIE = 5e-4  # between logits, whose deviation is about 2
SCHEMES = (("int8_channel", None), ("int4_group", 32), ("int4_group", 128))
LIBRARY = find_library()
ISAS = LIBRARY.isas if LIBRARY else ()
compiled = pytest.mark.skipif(LIBRARY is None, reason="the compiled kernels were not built")


def codes_of(gpt: GPT, settings: DecodeSettings = GREEDY, at_least: int = AT_LEAST) -> list[list[int]]:
    """Codes of one text after the other, until there are enough."""
    made: list[list[int]] = []
    for prompt in prompts():
        made.append(generate(gpt, prompt, settings))
        if sum(map(len, made)) >= at_least:
            return made
    raise AssertionError(f"the texts make only {sum(map(len, made))} codes")


@cache
def expected_codes(scheme: str, group: int | None) -> list[list[int]]:
    """Of the dequantized network."""
    return codes_of(tiny_gpt(scheme, group, DEQUANTIZED), at_least=2 * AT_LEAST)


def assert_same_codes(gpt: GPT, scheme: str, group: int | None) -> None:
    """AT_LEAST codes and more are the reference's, of each text as far as rounding does not decide between two."""
    n_same = 0
    for prompt, expected in zip(prompts(), expected_codes(scheme, group), strict=False):
        found = generate(gpt, prompt, GREEDY)
        stop = gpt.config.stop_mel_token
        pairs = zip([*found, stop], [*expected, stop], strict=False)
        differ = next(((i, mine, theirs) for i, (mine, theirs) in enumerate(pairs) if mine != theirs), None)
        if differ is None:
            assert len(found) == len(expected)
            n_same += len(expected)
            continue
        i, mine, theirs = differ
        logits = logits_fed(tiny_gpt(scheme, group, DEQUANTIZED), prompt, expected[:i])[i]
        assert float(logits[theirs] - logits[mine]) < TIE, f"code {i} is another one, and not as likely"
        n_same += i
    assert n_same >= AT_LEAST


def generate(gpt: GPT, prompt: Prompt, settings: DecodeSettings) -> list[int]:
    return generate_codes(gpt, prompt.of(gpt), settings, None, stepper=fused_step(gpt)).codes


@compiled
@pytest.mark.parametrize(("scheme", "group"), SCHEMES)
def test_the_fused_step_makes_the_codes_of_the_reference(scheme: str, group: int | None) -> None:
    gpt = tiny_gpt(scheme, group, "native")
    assert fused_step(gpt) is not None
    assert_same_codes(gpt, scheme, group)


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize(("scheme", "group"), SCHEMES)
def test_on_every_instruction_set(scheme: str, group: int | None, isa: Isa, monkeypatch: pytest.MonkeyPatch) -> None:
    expected_codes(scheme, group)
    used: set[Isa] = set()

    def usable(self: Library, wanted: Isa | None) -> Isa:
        used.add(isa)
        return isa

    monkeypatch.setattr(Library, "usable", usable)
    assert_same_codes(tiny_gpt(scheme, group, "native"), scheme, group)
    assert used == {isa}


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "group"), SCHEMES)
@pytest.mark.parametrize("kernel", ["native", "dequantize-per-call"])
def test_layer_by_layer(scheme: str, group: int | None, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine whose shapes the fused step does not serve."""
    if kernel == "native" and LIBRARY is None:
        pytest.skip("the compiled kernels were not built")
    monkeypatch.setitem(globals(), "fused_step", lambda gpt: None)
    assert_same_codes(tiny_gpt(scheme, group, kernel), scheme, group)


@compiled
@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "group"), SCHEMES)
def test_beams(scheme: str, group: int | None) -> None:
    found, expected = (codes_of(tiny_gpt(scheme, group, k), BEAMS, 100) for k in ("native", DEQUANTIZED))
    assert found == expected


def logits_fed(gpt: GPT, prompt: Prompt, codes: list[int]) -> torch.Tensor:
    """Logits (n + 1, K) of each next code, by the step that decoding takes, with `codes` fed."""
    step = fused_step(gpt) or gpt
    with torch.inference_mode():
        prefix = prompt.of(gpt).embeddings
        cache = KVCache.allocate(gpt.config, prefix.shape[1] + len(codes) + 1)
        start = gpt.mel_embed(torch.tensor([[gpt.config.start_mel_token]]), torch.tensor([0]))
        made = [gpt.logits(gpt(torch.cat([prefix, start], dim=1), cache)[:, -1:])]
        for i, code in enumerate(codes):
            embedded = gpt.mel_embed(torch.tensor([[code]]), torch.tensor([i + 2]))
            made.append(gpt.logits(step(embedded, cache)))
    return torch.cat(made, dim=1)[0].float()


@pytest.mark.parametrize("kernel", ["native-int8", pytest.param("aten", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("scheme", "group"), SCHEMES[:2])
def test_rounded_activations_choose_nearly_the_same(scheme: str, group: int | None, kernel: str) -> None:
    """Figures of one run: top-1 and KL are printed with `-s`."""
    if kernel == "native-int8" and LIBRARY is None:
        pytest.skip("the compiled kernels were not built")
    reference, gpt = tiny_gpt(scheme, group, DEQUANTIZED), tiny_gpt(scheme, group, kernel)
    same, divergence, n = 0, 0.0, 0
    for prompt, codes in zip(prompts(), expected_codes(scheme, group), strict=False):
        expected, found = logits_fed(reference, prompt, codes), logits_fed(gpt, prompt, codes)
        same += int((expected.argmax(-1) == found.argmax(-1)).sum())
        likely = expected.log_softmax(-1)
        divergence += float((likely.exp() * (likely - found.log_softmax(-1))).sum())
        n += len(expected)
    print(f"\n{kernel} {scheme}: top-1 {same / n:.4f}, KL {divergence / n:.2e} nats a code, {n} codes", end="")
    assert n >= AT_LEAST
    assert same / n >= 0.97 and 0 <= divergence / n <= 1e-2


@compiled
def test_activations_are_rounded_where_that_was_asked_for() -> None:
    """By the way to compute, or by name; a name is obeyed in every way."""
    weight = next(q for q in open_pack(builtin_pack()).stored("gpt").values() if isinstance(q, Quantized))
    chosen = {c: KernelChoice(CPU, compute=c)(weight).name for c in get_args(Compute)}
    assert chosen == {"reference": "native", "exact": "native", "fast": "native-int8"}
    assert KernelChoice(CPU, "native", "fast")(weight).name == "native"
