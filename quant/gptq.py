"""GPTQ for the GPT: int4 codes with error compensation, layer by layer.

In: an open pack in float32, the GPT's rules, samples of its speech. Out: the int4 parts of every linear layer whose
rule names gptq. Blocks are quantized in order; each block sees the samples as the quantized blocks before it produce
them. The second moments of one block are in memory at a time.

Inputs are quantized one by one: the error of each is distributed over the remaining inputs, to minimize the change of
the layer's output on the samples. With `activation_order`, inputs with the largest second moments come first, while
most others are left to compensate. The grid of each group is fixed beforehand by `edgetts.quant.hqq` with inputs
weighted by their second moments, so the stored layout is the same as of rounding.

Source: Frantar et al. 2023, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
(arXiv 2210.17323): the order of work, the Cholesky form, blocks of inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from edgetts.errors import PackError, UsageError
from edgetts.models.gpt import GPT
from edgetts.pack.load import Pack
from edgetts.pack.page_release import give_back
from edgetts.pack.schemes import INT4_LEVELS, Quantized, int4_zero_points
from edgetts.pack.text import text_config_of
from edgetts.pipeline import Pipeline
from edgetts.progress import CountedProgress
from edgetts.quant import hqq
from edgetts.quant.calibrate import CPU, Speech, decoding_embeddings, find_voice, make_samples
from edgetts.quant.recipe import CalibrationSettings
from edgetts.quant.schemes import Encode, Parts, SchemeRule, int4_parts
from edgetts.voices.speaker import make_speaker

_BLOCKS = "gpt.h."
_INPUTS_AT_ONCE = 128
_DAMPING_GROWTH = 10.0
_DAMPING_TRIES = 4


@torch.inference_mode()
def quantize_gpt(
    pack: Pack,
    rules: Sequence[SchemeRule],
    settings: CalibrationSettings,
    speech: Speech,
    otherwise: Encode,
    progress: CountedProgress | None = None,
) -> dict[str, Parts]:
    """Parts by tensor name. otherwise: quantizes linear layers of a block whose rule names another method.

    Raises UsageError for a gptq rule outside the blocks.
    """
    samples, gpt = _speak(pack, settings, speech, progress)
    give_back(*gpt.parameters())  # sampling has read all weights; each block's are read again in its turn
    linears = {f"{name}.weight": m for name, m in gpt.named_modules() if isinstance(m, nn.Linear)}
    chosen: dict[str, SchemeRule] = {}
    for name, tensor in gpt.state_dict().items():
        rule = next((r for r in rules if r.applies(name, tuple(tensor.shape), tensor.dtype)), None)
        if rule is None:
            continue
        if rule.method == "gptq" and not (name in linears and name.startswith(_BLOCKS)):
            raise UsageError(f"{name} cannot be quantized with gptq: it is for the linear layers of the blocks only.")
        chosen[name] = rule
    result: dict[str, Parts] = {}
    for i, block in enumerate(gpt.gpt.h):
        if progress is not None:
            progress("calibrating", i, len(gpt.gpt.h))
        names = {n: m for n, m in linears.items() if n.startswith(f"{_BLOCKS}{i}.") and n in chosen}
        calibrated = {n: m for n, m in names.items() if chosen[n].method == "gptq"}
        moments = _second_moments(block, calibrated, samples)
        originals = tuple(block.parameters())
        for name, layer in names.items():
            rule, weight = chosen[name], layer.weight.to(torch.float32)
            if name in calibrated:
                group_size = rule.group_size or weight.shape[1]
                parts = quantize(weight, moments.pop(name), group_size, settings.damping, settings.activation_order)
                result[name] = parts
            elif rule.scheme != "plain":
                parts = otherwise(name, weight, rule)
            else:
                continue
            stored = Quantized(rule.scheme, rule.group_size, tuple(weight.shape), parts)
            layer.weight = nn.Parameter(stored.decode(), requires_grad=False)
        samples = [block(sample, None, None, i) for sample in samples]
        gpt.gpt.h[i] = nn.Identity()  # free its float32 weights
        for name in names:
            del linears[name]
        give_back(*originals)
    return result


def quantize(weight: Tensor, moments: Tensor, group_size: int, damping: float, activation_order: bool) -> Parts:
    """The int4 parts of weight (O, I), given the second moments (I, I) of its inputs."""
    n_inputs = weight.shape[1]
    diagonal = moments.diagonal()
    dead = diagonal == 0  # inputs that were always zero: plain rounding
    moments[dead, dead] = 1
    scales, zeros = hqq.grid(weight, diagonal, group_size)
    order = diagonal.argsort(descending=True, stable=True) if activation_order else torch.arange(n_inputs)
    moments = moments[order]
    moments = moments[:, order]  # two steps: one copy at a time
    spread = _inverse_factor(moments, damping)
    del moments
    # Transposed: the weights of an input are contiguous.
    columns = weight.t()[order].contiguous()  # (I, O)
    steps = scales.to(torch.float32).t().contiguous()  # (G, O)
    steps = torch.where(steps > 0, steps, torch.ones_like(steps))
    zero_points = int4_zero_points(zeros).t().contiguous()
    codes = torch.empty(columns.shape, dtype=torch.uint8)
    groups = (order // group_size).tolist()
    for start in range(0, n_inputs, _INPUTS_AT_ONCE):
        end = min(start + _INPUTS_AT_ONCE, n_inputs)
        errors = torch.empty(end - start, columns.shape[1])
        for i in range(start, end):
            step, zero = steps[groups[i]], zero_points[groups[i]]
            value = columns[i]
            code = (value / step + zero).round_().clamp_(0, INT4_LEVELS - 1)
            codes[i] = code.to(torch.uint8)
            error = torch.div(value - (code - zero) * step, spread[i, i], out=errors[i - start])
            columns[i + 1 : end].addr_(spread[i, i + 1 : end], error, alpha=-1)
        columns[end:].addmm_(spread[start:end, end:].t(), errors, alpha=-1)
    return int4_parts(codes[order.argsort()].t().contiguous(), scales, zeros)


def _inverse_factor(moments: Tensor, damping: float) -> Tensor:
    """The upper Cholesky factor of the inverse of damped second moments (I, I). Frees large intermediates early."""
    mean = float(moments.diagonal().mean())
    for i in range(_DAMPING_TRIES):
        damped = moments.clone()
        damped.diagonal().add_(mean * damping * _DAMPING_GROWTH**i)
        lower, failed = torch.linalg.cholesky_ex(damped)
        del damped
        if failed:
            continue
        inverse = torch.cholesky_inverse(lower)
        del lower
        upper, failed = torch.linalg.cholesky_ex(inverse, upper=True)
        del inverse
        if not failed and bool(torch.isfinite(upper).all()):
            factor: Tensor = upper
            return factor
    raise PackError("The activations of the GPT are not finite on the calibration texts: the checkpoint is damaged.")


def _second_moments(block: nn.Module, layers: Mapping[str, nn.Module], samples: Sequence[Tensor]) -> dict[str, Tensor]:
    """Mean of x x^T over all positions of each layer's input, (I, I)."""
    moments: dict[str, Tensor] = {}
    n_positions = sum(sample.shape[1] for sample in samples)

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].reshape(-1, inputs[0].shape[-1]).to(torch.float32)
            if name not in moments:
                moments[name] = torch.zeros(x.shape[1], x.shape[1])
            moments[name].addmm_(x.t(), x, alpha=1 / n_positions)

        return hook

    handles = [layer.register_forward_pre_hook(hook_of(name)) for name, layer in layers.items()]
    try:
        for sample in samples:
            block(sample, None, None, 0)
    finally:
        for handle in handles:
            handle.remove()
    return moments


def _speak(
    pack: Pack, settings: CalibrationSettings, speech: Speech, progress: CountedProgress | None
) -> tuple[list[Tensor], GPT]:
    """The first block's input of each sample (1, T, C), and the GPT."""
    pipeline = Pipeline(pack, CPU, compute="reference")  # reference: only the GPT is used, so nothing else is optimized
    speaker = make_speaker(pipeline.networks, find_voice(pack, speech.voice))
    spoken = speech.calibration(text_config_of(pack).languages, settings.n_texts)
    samples = make_samples(
        pipeline, speaker, spoken, max_codes=settings.max_codes, seed=settings.seed, progress=progress, what="listening"
    )
    return [decoding_embeddings(pipeline.gpt, speaker, sample) for sample in samples], pipeline.gpt
