"""Compiled forms: one block function for all layers and lengths, made in another thread, taken between solutions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from helpers.s2mel_config import tiny_dit_config
from torch import Tensor
from torch._dynamo.exc import FailOnRecompileLimitHit, Unsupported

from edgetts.backends.compiled import Swapped
from edgetts.backends.dit_blocks import DiTBlocks, attend_at_once, block_function, compile_block
from edgetts.backends.fast_dit import FastDiT
from edgetts.backends.frame_ops import FunctionalFrameOps, PlainFrameOps
from edgetts.models.dit import Block, DiT, rope_table

CPU = torch.device("cpu")


class Compiled:
    """A compiler that waits until it may be done; what it made says so."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may_end = threading.Event()
        self.error = error
        self.n_made = 0
        self.threads: set[str] = set()
        self.calls = 0

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        assert self.may_end.wait(10)
        self.n_made += 1
        if self.error is not None:
            raise self.error

        def compiled(*arguments: Any) -> Any:
            self.threads.add(threading.current_thread().name)
            self.calls += 1
            return function(*arguments)

        return compiled


def test_plain_at_once_and_compiled_when_it_is_there() -> None:
    compiler = Compiled()
    swapped = Swapped(lambda x, n: x * n, compiler)
    plain = swapped.current()
    swapped.seen(torch.ones(3), 5)
    assert swapped.current() is plain and float(plain(torch.ones(1), 3)) == 3
    compiler.may_end.set()
    swapped.wait(10)
    made = swapped.current()
    assert made is not plain and float(made(torch.ones(1), 3)) == 3
    assert compiler.n_made == 1 and "edgetts-compile" in compiler.threads
    swapped.seen(torch.ones(30), 7)  # another length: nothing to make
    assert swapped.current() is made and compiler.calls == 2
    swapped.seen(torch.ones(30, dtype=torch.float64), 7)  # another type: plain until it is ready for that, too
    swapped.wait(10)
    assert swapped.current() is made and compiler.calls == 3 and compiler.n_made == 1
    swapped.seen(torch.ones(1), 1)  # lengths of 0 and 1 are compiled apart
    swapped.wait(10)
    assert compiler.calls == 4


def test_a_compiler_that_fails_changes_nothing() -> None:
    compiler = Compiled(RuntimeError("no C++ compiler\nand more"))
    swapped = Swapped(lambda x: x, compiler)
    compiler.may_end.set()
    swapped.seen(torch.ones(3))
    swapped.wait(10)
    assert swapped.current()(4) == 4 and swapped.problem == "no C++ compiler"
    swapped.seen(torch.ones(3, 3))
    assert swapped._thread is None  # it is not tried again


class RefusesToRecompile:
    """A compiler whose result ran once, and later has to be compiled again but is not."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.is_over = False

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def compiled(*arguments: Any) -> Any:
            if self.is_over:
                raise self.error
            return function(*arguments)

        return compiled


@pytest.mark.parametrize("kind", [FailOnRecompileLimitHit, Unsupported])
def test_what_cannot_be_compiled_again_is_computed_plainly_and_told(kind: type[Exception]) -> None:
    compiler = RefusesToRecompile(kind("recompile limit reached"))
    swapped = Swapped(lambda x: x + 1, compiler)
    swapped.seen(torch.ones(3))
    swapped.wait(10)
    made = swapped.current()
    compiler.is_over = True
    assert made(4) == 5 and swapped.problem == "recompile limit reached"
    compiler.is_over = False
    assert made(4) == 5 and swapped.current()(4) == 5 and swapped.current() is not made


def test_other_errors_of_a_compiled_function_are_raised() -> None:
    compiler = RefusesToRecompile(RuntimeError("CUDA out of memory"))
    swapped = Swapped(lambda x: x, compiler)
    swapped.seen(torch.ones(3))
    swapped.wait(10)
    made, compiler.is_over = swapped.current(), True
    with pytest.raises(RuntimeError, match="out of memory"):
        made(4)
    assert not swapped.problem


def test_inference_tensors_are_another_form() -> None:
    """torch.compile guards on it: what was compiled for one is compiled again for the other."""
    compiler = Compiled()
    compiler.may_end.set()
    swapped = Swapped(lambda x: x, compiler)
    swapped.seen(torch.ones(3))
    swapped.wait(10)
    with torch.inference_mode():
        swapped.seen(torch.ones(3))
    swapped.wait(10)
    assert compiler.calls == 2


def test_models_loaded_one_after_another_do_not_use_up_the_recompilations() -> None:
    """torch.compile refuses the ninth form of a code object: here two kinds of layers in six kinds of models."""
    for dtype, is_inference in product((torch.float32, torch.float64, torch.float16), (False, True)):
        with torch.inference_mode(is_inference):
            network = DiT(tiny_dit_config()).to(dtype).eval().requires_grad_(False)
        layers = [layer for layer in network.transformer.layers if isinstance(layer, Block)]
        ops = FunctionalFrameOps(dtype)
        compiler = partial(compile_block, backend="eager")
        blocks = DiTBlocks(layers, network.rope_dim, dtype, CPU, ops, compiler)
        rope = ops.rope(rope_table(9, network.rope_dim, CPU))
        with torch.inference_mode():
            x = torch.randn(1, 9, tiny_dit_config().hidden_dim, dtype=dtype)
            norms = [torch.randn(1, 2 * x.shape[-1], dtype=dtype) for _ in range(2 * len(layers))]
            blocks(x, norms, rope, network.transformer.n_emitting, 0)
            blocks.wait()
        assert not blocks.problem, f"at {dtype}, {is_inference}: {blocks.problem}"


def shaken() -> DiT:
    network, generator = DiT(tiny_dit_config()), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return network.eval().requires_grad_(False)


def test_it_is_taken_between_two_solutions(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, config, compiler = shaken(), tiny_dit_config(), Compiled()
    fast = FastDiT(plain, torch.float32, CPU)
    layers = [layer for layer in plain.transformer.layers if isinstance(layer, Block)]
    fast._blocks = DiTBlocks(layers, plain.rope_dim, torch.float32, CPU, fast._ops, compiler)
    prompt, style, condition = (
        torch.randn(1, config.n_mels, 12),
        torch.randn(1, config.style_dim),
        torch.randn(1, 12, config.content_dim),
    )
    with torch.inference_mode():
        velocity = fast.prepare(prompt, style, condition, [0.2, 0.6])
        x = torch.randn(1, config.n_mels, 12)
        expected = velocity(x, 0, 1)
        compiler.may_end.set()
        assert fast._blocks._swapped is not None
        fast._blocks._swapped.wait(10)
        calls = compiler.calls
        velocity(x, 1, 1)
        assert compiler.calls == calls  # this solution ends as it began
        assert torch.equal(fast.prepare(prompt, style, condition, [0.2, 0.6])(x, 0, 1), expected)
        assert compiler.calls == calls + len(layers) and compiler.n_made == 1


def test_rotation_without_writing_into_parts() -> None:
    rope = PlainFrameOps(torch.float32).rope(rope_table(9, 8, CPU))
    x = torch.randn(2, 9, 6, 8)
    found, expected = (kind(torch.float32).rotate(x, 4, rope) for kind in (FunctionalFrameOps, PlainFrameOps))
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("by", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_one_graph_for_all_lengths(by: str) -> None:
    """Whole, without a break; two forms of layers, and ten lengths add nothing."""
    graphs: list[Any] = []

    def counting(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        from torch._inductor.compile_fx import compile_fx

        graphs.append(graph)
        return graph.forward if by == "eager" else compile_fx(graph, inputs)

    torch._dynamo.reset()
    network = shaken()
    ops = FunctionalFrameOps(torch.float32)
    block = compile_block(block_function(ops, attend_at_once), counting)
    layers = [layer for layer in network.transformer.layers if isinstance(layer, Block)]
    plain = DiTBlocks(layers, network.rope_dim, torch.float32, CPU, ops)
    compiled = DiTBlocks(layers, network.rope_dim, torch.float32, CPU, ops, lambda function: block)
    compiled._block = block
    compiled._swapped = None
    with torch.inference_mode():
        for begin, length in enumerate((40, 41, 57, 64, 96, 100, 128, 131, 160, 200), start=7):
            generator = torch.Generator().manual_seed(length)
            x = torch.randn(2, length, tiny_dit_config().hidden_dim, generator=generator)
            norms = torch.randn(2 * len(layers), 1, 1, 2 * x.shape[-1], generator=generator).unbind(0)
            rope = ops.rope(rope_table(length, network.rope_dim, CPU))
            expected = plain(x, norms, rope, network.transformer.n_emitting, begin)
            found = compiled(x, norms, rope, network.transformer.n_emitting, begin)
            assert float((found - expected).abs().max() / expected.std()) < 1e-4
    assert (
        len(graphs) == 2
    )  # of layers without a skip, and of the last one, which has one and a first frame that is wanted
