"""Every kernel against dequantize-and-multiply, at the GPT's shapes; layers take the place of a network's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from helpers.gpt_weights import GPT_MATRICES, ROWS, quantized
from helpers.refusals import is_missing
from torch import nn

from edgetts.backends.kernels import AUTO, DEQUANTIZED, KERNELS, Kernel, KernelChoice, relative_error, try_kernel
from edgetts.backends.linear import QuantizedLinear, kernels_used, replace_layers, replacer
from edgetts.errors import UsageError
from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.models.gpt import GPT
from edgetts.pack.entries import TOKENIZER_FILE
from edgetts.pack.load import open_pack
from edgetts.pack.schemes import SCHEMES, Quantized
from edgetts.quant.schemes import SchemeRule
from edgetts.quant.writer import PackWriter

CPU = torch.device("cpu")


def group_of(scheme: str) -> int | None:
    return 32 if SCHEMES[scheme].grouped else None


def cpu_kernels() -> list[Kernel]:
    return [k for k in KERNELS if "cpu" in k.devices]


@pytest.mark.parametrize("kernel", cpu_kernels(), ids=lambda k: f"{k.name}-{k.scheme}")
@pytest.mark.parametrize("name", GPT_MATRICES)
def test_kernels_at_the_shapes_of_the_gpt(kernel: Kernel, name: str) -> None:
    n_outputs, n_inputs = GPT_MATRICES[name]
    # Outputs are independent of each other: a part of them takes a part of the time (all: test_kernels_whole.py).
    weight = quantized(kernel.scheme, group_of(kernel.scheme), (n_outputs // 20, n_inputs))
    problem = try_kernel(kernel, weight, CPU).problem
    if problem:
        pytest.skip(problem)
    packed = kernel.pack(weight)
    bias = torch.randn(len(weight.parts["scales"]), generator=torch.Generator().manual_seed(2))
    for rows in ROWS:
        x = torch.randn(rows, n_inputs, generator=torch.Generator().manual_seed(rows))
        expected = x @ weight.decode().t()
        assert relative_error(kernel.multiply(packed, x, None), expected) <= max(kernel.tolerance, 1e-5)
        assert relative_error(kernel.multiply(packed, x, bias), expected + bias) <= max(kernel.tolerance, 1e-5)
        half = kernel.multiply(packed, x.bfloat16(), None)
        assert half.dtype == torch.bfloat16 and relative_error(half, expected) <= 1e-2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kernel", [k for k in KERNELS if "cuda" in k.devices], ids=lambda k: f"{k.name}-{k.scheme}")
@pytest.mark.parametrize("name", GPT_MATRICES)
def test_kernels_on_a_gpu(kernel: Kernel, name: str) -> None:
    device = torch.device("cuda")
    weight = quantized(kernel.scheme, 64 if SCHEMES[kernel.scheme].grouped else None, GPT_MATRICES[name])
    weight = Quantized(
        weight.scheme, weight.group_size, weight.shape, {n: p.to(device) for n, p in weight.parts.items()}
    )
    trial = try_kernel(kernel, weight, device)
    if is_missing(trial.problem):
        pytest.skip(trial.problem)
    assert not trial.problem
    packed = kernel.pack(weight)
    for rows in ROWS:
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            x = torch.randn(rows, weight.shape[1], device=device).to(dtype)
            expected = x.double() @ weight.decode().double().t()
            limit = 1e-2 if dtype == torch.bfloat16 else max(kernel.tolerance, 1e-3)
            assert relative_error(kernel.multiply(packed, x, None), expected) <= limit


def test_only_what_is_missing_excuses_a_kernel_on_a_gpu() -> None:
    assert is_missing("No module named 'bitsandbytes'")
    assert is_missing("Could not run 'aten::_weight_int8pack_mm' with arguments from the 'CUDA' backend")
    assert is_missing("it runs on cpu only")
    for problem in ("", "it is wrong by 1.0e-01 of the result", "CUDA error: an illegal memory access", "no tiles"):
        assert not is_missing(problem)


def test_a_wrong_kernel_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel is judged by what it computes: one that is wrong, or that fails, is passed over."""

    def fails(weight: Quantized) -> Quantized:
        raise RuntimeError("no such instruction\nand more")

    wrong = Kernel(
        "wrong", "int8_channel", ("cpu",), 1e-2, lambda w: w, lambda w, x, b: x @ w.decode().t() * 1.1, rounds_to=None
    )
    failing = Kernel("failing", "int8_channel", ("cpu",), 1e-2, fails, lambda w, x, b: x, rounds_to=None)
    elsewhere = Kernel("elsewhere", "int8_channel", ("cuda",), 1e-2, lambda w: w, lambda w, x, b: x, rounds_to=None)
    reference = next(k for k in KERNELS if k.name == "dequantize-per-call" and k.scheme == "int8_channel")
    monkeypatch.setattr("edgetts.backends.kernels.registry.KERNELS", (wrong, failing, elsewhere, reference))
    weight = quantized("int8_channel", None, (70, 64))
    assert KernelChoice(CPU)(weight) is reference
    assert "wrong by 1.0e-01" in try_kernel(wrong, weight, CPU).problem
    assert try_kernel(failing, weight, CPU).problem == "no such instruction"
    with pytest.raises(UsageError, match="wrong cannot be used for int8_channel: it is wrong by"):
        KernelChoice(CPU, "wrong")(weight)
    with pytest.raises(UsageError, match="elsewhere cannot be used for int8_channel: it runs on cuda only"):
        KernelChoice(CPU, "elsewhere")(weight)
    with pytest.raises(UsageError, match="Unknown kernel 'fast': use one of auto, dequantized, wrong"):
        KernelChoice(CPU, "fast")


def test_an_epilogue_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """GELU and residual behind any kernel, in one pass where it can; the weight where only a kernel's layout is kept."""
    weight = quantized("int8_channel", None, (48, 64))
    for base in (k for k in KERNELS if k.name == "dequantize-per-call" and k.scheme == "int8_channel"):
        layer = QuantizedLinear(weight, base, bias=True)
        layer.bias = nn.Parameter(torch.ones(48), requires_grad=False)
        x, residual = torch.randn(2, 3, 64), torch.randn(2, 3, 48)
        expected = nn.functional.gelu(layer(x), approximate="tanh") + residual
        assert relative_error(layer.then(x, gelu=True, residual=residual), expected) < 1e-6
        assert torch.equal(layer.then(x), layer(x))
        lonely = dataclasses.replace(
            base, pack=lambda w: (w.decode(),), multiply=lambda p, x, b: x @ p[0].t(), needs_stored=False
        )
        alone = QuantizedLinear(weight, lonely, bias=False)
        assert alone._stored is None and relative_error(alone.weight, weight.decode()) < 1e-6
        assert "int8_channel by dequantize-per-call" in repr(alone)


def test_layers_that_are_not_plain_linears_are_left() -> None:
    class Derived(nn.Linear):
        pass

    module = nn.Module()
    module.a, module.b, module.c, module.e = nn.Linear(64, 8), Derived(64, 8), nn.Conv1d(64, 8, 1), nn.Embedding(8, 64)
    weights = {f"{n}.weight": quantized("int8_channel", None, (8, 64)) for n in ("a", "b", "c", "e")}
    taken = replace_layers(module, weights, KernelChoice(CPU), torch.float32)
    assert taken == {"a.weight", "e.weight"} and list(kernels_used(module).values()) == [1]
    assert torch.equal(module.e(torch.tensor([3])), weights["e.weight"].decode()[3:4])


@pytest.fixture(scope="session")
def small_pack(mini_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mini pack with int4 blocks and int8 embeddings and head."""
    source = open_pack(mini_pack)
    rules = [SchemeRule("gpt.h.*.weight", "int4_group", 32), SchemeRule("*", "int8_channel")]
    target = tmp_path_factory.mktemp("packs") / "small.pack"
    with PackWriter(target, source.config, name="small", recipe="test", license="none") as writer:
        for component in INDEXTTS_2.components:
            tensors = source.state_dict(component)
            writer.add_component(component, tensors, rules=rules if component == "gpt" else ())
        writer.add_file(TOKENIZER_FILE, source.tokenizer_path)
        return writer.finish()


@pytest.mark.parametrize("wanted", [AUTO, DEQUANTIZED, "dequantize-per-call", "native", "aten"])
def test_a_network_computes_the_same_with_replaced_layers(small_pack: Path, wanted: str) -> None:
    pack = open_pack(small_pack)
    config = pack.config.gpt
    decoded = pack.module("gpt", lambda: GPT(config))
    weight = quantized("int4_group", 32, (256, 128))
    if (
        wanted not in (AUTO, DEQUANTIZED)
        and try_kernel(next(k for k in KERNELS if (k.name, k.scheme) == (wanted, "int4_group")), weight, CPU).problem
    ):
        pytest.skip("this machine cannot run it")
    gpt = pack.module("gpt", lambda: GPT(config), replace=replacer(KernelChoice(CPU, wanted)))
    linears = 4 * config.n_layers + 1
    assert sum(isinstance(m, QuantizedLinear) for m in gpt.modules()) == (0 if wanted == DEQUANTIZED else linears)
    x = torch.randn(1, 9, config.model_dim, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = decoded.logits(decoded(x)), gpt.logits(gpt(x))
        assert relative_error(found, expected) < 2e-2
        assert torch.equal(gpt.mel_embedding(torch.tensor([[1, 5]])), decoded.mel_embedding(torch.tensor([[1, 5]])))
        assert torch.equal(gpt.speed_emb.weight, decoded.speed_emb.weight)
    assert gpt.mel_head.bias is not None and not gpt.mel_head.bias.is_meta
    assert "gpt" in pack.manifest.components and not gpt.training


def test_a_width_that_aten_would_read_beyond_is_refused_before_it_runs() -> None:
    kernel = next(k for k in KERNELS if (k.name, k.scheme) == ("aten", "int8_channel"))
    trial = try_kernel(kernel, quantized("int8_channel", None, (64, 100)), CPU)
    assert "100 inputs are not a multiple of 32" in trial.problem
