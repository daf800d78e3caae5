"""Compares this machine's fast paths with plain fp32 without compiled kernels: same weights, same inputs.

In: an open pack. Out: rows with the largest error in standard deviations of the plain result, and the tolerance of the
fast path's dtype. Needs no golden tensors, so it works for any pack. Does not measure the loss of quantization: both
sides have the quantized weights.

Inputs are noise in the right shapes. The GPT is fed the same codes on both sides, through the step that decodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edgetts.backends.device_decoder import DeviceDecoder, device_decoders
from edgetts.backends.fused_step import fused_step
from edgetts.backends.kernels import AUTO, DEQUANTIZED
from edgetts.backends.linear import kernels_used, roundings_of
from edgetts.backends.networks import load_gpt
from edgetts.backends.numbers import dtype_name
from edgetts.backends.prepare import Prepared, prepare_s2mel, prepare_vocoder
from edgetts.backends.runners import RunnerName
from edgetts.compute import DEFAULT_COMPUTE, Compute, check_compute
from edgetts.decoding.decode import generate_codes
from edgetts.decoding.flow import solve_flow
from edgetts.decoding.latents import LatentPass
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.settings import DecodeSettings, FlowSettings
from edgetts.errors import UsageError
from edgetts.models import registry
from edgetts.models.gpt import GPT, KVCache
from edgetts.parity.row import TOLERANCES, Row, compare

if TYPE_CHECKING:
    from edgetts.pack.load import Pack

N_CODES = 200
"""Steps of decoding that are compared."""
_N_TEXT_TOKENS = 24
_PROMPT_FRAMES, _FRAMES = 40, 70
_FLOW = FlowSettings(n_steps=4, solver="euler", cfg_rate=0.7)
_LOG_SILENCE = -5.0  # about the mean of log-mels


@dataclass(frozen=True)
class _Case:
    """The pack, and how its networks are run."""

    pack: Pack
    device: torch.device
    compute: Compute
    kernel: str
    runner: RunnerName
    generator: torch.Generator

    def noise(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator).to(self.device)


@torch.inference_mode()
def compare_paths(
    pack: Pack,
    component: str | None = None,
    *,
    device: torch.device,
    compute: Compute = DEFAULT_COMPUTE,
    kernel: str = AUTO,
    runner: RunnerName = "auto",
    progress: Callable[[str, float], None] | None = None,
) -> list[Row]:
    """Compare the networks as `Pipeline` with these arguments runs them, or the one called `component`.

    Raises UsageError for a component with only one path, and for an unknown kernel or compute mode.
    """
    check_compute(compute)
    if component is not None and component not in PATHS:
        raise UsageError(
            f"The component is {component!r}; without golden tensors only {', '.join(PATHS)} can be compared. Give "
            "their folder with golden= for other components."
        )
    case = _Case(pack, device, compute, kernel, runner, torch.Generator().manual_seed(0))
    wanted = [name for name in PATHS if component in (None, name)]
    rows: list[Row] = []
    for i, name in enumerate(wanted):
        if progress is not None:
            progress(name, i / len(wanted))
        rows += PATHS[name](case)
    return rows


def _gpt(case: _Case) -> Iterator[Row]:
    config = case.pack.config.gpt

    voice = case.noise(1, config.n_conditioning_latents, config.model_dim), case.noise(1, config.model_dim)
    first = max(config.start_text_token, config.stop_text_token) + 1
    ids = torch.arange(first, config.n_text_tokens)[:_N_TEXT_TOKENS].unsqueeze(0).to(case.device)
    plain = load_gpt(case.pack, case.device, DEQUANTIZED, "reference")
    greedy = DecodeSettings(do_sample=False, n_beams=1, repetition_penalty=1.0, max_codes=N_CODES)
    prompt = GPTPrompt.build(plain, *voice, ids)
    made = generate_codes(plain, prompt, greedy, None).codes or [0]
    codes = [made[i % len(made)] for i in range(N_CODES)]  # noise may stop early
    expected, latents = _logits(plain, prompt, codes), LatentPass(plain, prompt).append(codes)
    del plain
    fast = load_gpt(case.pack, case.device, case.kernel, case.compute)
    kernels = kernels_used(fast)
    roundings = [dtype_name(fast.dtype), *roundings_of(fast)]
    rounding = max(roundings, key=TOLERANCES.__getitem__)
    limit = TOLERANCES[rounding]
    how = ", ".join(f"{n} by {name}" for name, n in sorted(kernels.items())) or "plain linear layers"
    how += f", {rounding}" + ("" if fused_step(fast) is None else ", fused step")
    prompt = GPTPrompt.build(fast, *voice, ids)
    found = _logits(fast, prompt, codes)
    yield _about(compare("gpt", "logits", found, expected.cpu(), limit), how)
    yield _choices(found.argmax(-1, keepdim=True), expected, limit)
    decoders = device_decoders(fast, case.device, case.runner)
    if decoders is not None:
        step = _device_choices(decoders.take(1), prompt, codes, greedy)
        yield _choices(step.to(case.device), expected, limit, "codes_on_device", f", by the runner {case.runner}")
    yield _about(compare("gpt", "latents", LatentPass(fast, prompt).append(codes), latents.cpu(), limit), how)


def _logits(gpt: GPT, prompt: GPTPrompt, codes: list[int]) -> Tensor:
    """Logits (1, n + 1, K) of each next code, with `codes` fed one by one as decoding feeds them."""
    step = fused_step(gpt) or gpt
    prefix = prompt.embeddings
    capacity = prefix.shape[1] + 1 + len(codes)
    cache = KVCache.allocate(gpt.config, capacity, device=prefix.device, dtype=prefix.dtype)
    fed = torch.tensor([[gpt.config.start_mel_token, *codes]], device=prefix.device)
    positions = torch.arange(fed.shape[1], device=prefix.device)
    positions[1:] += 1  # decoding skips position 1
    embedded = gpt.mel_embed(fed, positions)  # (1, n + 1, C)
    made = [gpt.logits(gpt(torch.cat([prefix, embedded[:, :1]], dim=1), cache)[:, -1:])]
    made += [gpt.logits(step(embedded[:, i : i + 1], cache)) for i in range(1, fed.shape[1])]
    return torch.cat(made, dim=1).float()


def _device_choices(decoder: DeviceDecoder, prompt: GPTPrompt, codes: list[int], settings: DecodeSettings) -> Tensor:
    """The greedy choices (1, n + 1, 1) of the step on the device, with `codes` fed as in `_logits`."""
    decoder.prefill(prompt, replace(settings, max_codes=len(codes) + 1), None)
    chosen = decoder.poll()
    for code in codes:
        decoder.feed(code)
        decoder.launch(1)
        chosen += decoder.poll()
    return torch.tensor([[[best[0].code if best else -1] for best in chosen]])


def _choices(ours: Tensor, expected: Tensor, limit: float, name: str = "greedy_codes", how: str = "") -> Row:
    """Choices (1, n, 1) that differ although the reference prefers its own by more than rounding explains."""
    theirs = expected.argmax(-1, keepdim=True)
    if bool((ours < 0).any()):
        return Row("gpt", name, float("inf"), 0.0, f"the scores are not finite{how}")
    margin = (expected.gather(-1, theirs) - expected.gather(-1, ours)) / expected.std()
    n_other = int((ours != theirs).sum())
    detail = f"{ours.numel()} choices, {n_other} differ where two codes are equally good"
    return Row("gpt", name, float((margin > 2 * limit).sum()), 0.0, detail + how)


def _s2mel(case: _Case) -> Iterator[Row]:
    config = case.pack.config.s2mel
    plain, fast = (registry.S2MEL.load(case.pack, case.device) for _ in range(2))
    prepared = prepare_s2mel(fast, case.compute, case.device, kernel=case.kernel)
    dit = config.dit
    length = _PROMPT_FRAMES + _FRAMES
    noise, prompt = case.noise(1, dit.n_mels, length), case.noise(1, dit.n_mels, _PROMPT_FRAMES) + _LOG_SILENCE
    condition, style = case.noise(1, length, dit.content_dim), case.noise(1, dit.style_dim)
    for name, settings in (("one_step", FlowSettings(n_steps=1, solver="euler", cfg_rate=0.7)), ("mel", _FLOW)):
        mels = [solve_flow(net.cfm.estimator, noise, prompt, condition, style, settings) for net in (fast, plain)]
        ours, theirs = (mel[:, :, _PROMPT_FRAMES:] for mel in mels)
        yield _compare_prepared("s2mel", name, ours, theirs, prepared)


def _vocoder(case: _Case) -> Iterator[Row]:
    config = case.pack.config.vocoder
    plain, other = (registry.VOCODER.load(case.pack, case.device) for _ in range(2))
    fast, prepared = prepare_vocoder(other, case.compute, case.device)
    mel = case.noise(1, config.n_mels, _FRAMES) + _LOG_SILENCE
    yield _compare_prepared("vocoder", "audio", fast(mel), plain(mel), prepared)


def _compare_prepared(stage: str, name: str, ours: Tensor, theirs: Tensor, prepared: Prepared) -> Row:
    dtype = str(prepared.dtype).removeprefix("torch.")
    return _about(compare(stage, name, ours, theirs.cpu(), TOLERANCES[dtype]), f"computed in {dtype}")


def _about(row: Row, how: str) -> Row:
    return Row(row.stage, row.tensor, row.error, row.tolerance, f"{row.detail}, {how}")


PATHS: dict[str, Callable[[_Case], Iterator[Row]]] = {"gpt": _gpt, "s2mel": _s2mel, "vocoder": _vocoder}
