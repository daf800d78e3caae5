"""The faster forms of DiT and vocoder against the plain ones, with tolerances by number type."""

from __future__ import annotations

import copy
import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.paths import GOLDEN
from helpers.s2mel_config import tiny_dit_config
from safetensors.torch import load_file
from torch import Tensor, nn

from edgetts.backends import activation, dit_blocks, fast_vocoder, prepacked_conv
from edgetts.backends import prepare as acoustic
from edgetts.backends.activation import last_activation
from edgetts.backends.conv_forms import FormChoice, ImageConv1d, MatrixConv1d, SignalConv1d, forms_used
from edgetts.backends.fast_dit import FastDiT
from edgetts.backends.fast_vocoder import FastVocoder
from edgetts.backends.numbers import numbers_of
from edgetts.backends.prepacked_conv import CompiledConv1d, PrepackedConv1d, can_compile, can_prepack, prepacked
from edgetts.compute import Compute
from edgetts.decoding.flow import solve_flow
from edgetts.decoding.settings import FlowSettings
from edgetts.models.bigvgan import BigVGAN, anti_aliased_snake
from edgetts.models.dit import DiT
from edgetts.models.s2mel import LatentS2Mel
from edgetts.models.voice_offsets import n_offsets, voice_offsets
from edgetts.native.attention import can_attend
from edgetts.native.library import find_library
from edgetts.pack.load import open_pack

CPU = torch.device("cpu")
# Of the largest difference, in standard deviations of the exact result.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.12, torch.float16: 0.02}
HAS_BF16 = numbers_of(CPU, "fast").dit == torch.bfloat16


def difference(found: Tensor, exact: Tensor) -> float:
    assert found.shape == exact.shape and found.dtype == torch.float32
    return float((found - exact).abs().max() / exact.std())


def shaken() -> DiT:
    """A tiny DiT whose zero-initialized parameters are not zero, so that every input matters."""
    network = DiT(tiny_dit_config())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return network.eval().requires_grad_(False)


def dit_inputs(rows: int, length: int) -> dict[str, Tensor]:
    config, generator = tiny_dit_config(), torch.Generator().manual_seed(rows)
    return {
        "x": torch.randn(rows, config.n_mels, length, generator=generator),
        "prompt": torch.randn(rows, config.n_mels, length, generator=generator),
        "t": torch.rand(rows, generator=generator),
        "style": torch.randn(rows, config.style_dim, generator=generator),
        "condition": torch.randn(rows, length, config.content_dim, generator=generator),
    }


@pytest.mark.parametrize("rows", [1, 3])
def test_the_fast_dit_is_the_dit(rows: int) -> None:
    plain, given = shaken(), dit_inputs(rows, 21)
    with torch.inference_mode():
        exact = plain(**given)
        assert difference(FastDiT(plain, torch.float32, CPU)(**given), exact) < TOLERANCES[torch.float32]


@pytest.mark.skipif(not HAS_BF16, reason="this processor does not multiply in bfloat16")
def test_the_fast_dit_in_bfloat16_by_head() -> None:
    plain, given = shaken(), dit_inputs(2, 40)
    with torch.inference_mode():
        exact = plain(**given)
        fast = FastDiT(plain, torch.bfloat16, CPU)
        assert difference(fast(**given), exact) < 2 * TOLERANCES[torch.bfloat16]  # of a network with wild weights


@pytest.mark.skipif(not HAS_BF16, reason="this processor does not multiply in bfloat16")
@pytest.mark.parametrize("has_tiles", [True, False])
def test_ways_to_attend(has_tiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_tiles)
    attend = dit_blocks.attention(CPU, torch.bfloat16, 48)
    library = find_library()
    is_compiled = library is not None and can_attend(library, 48) and not has_tiles
    assert (attend is not dit_blocks.attend_by_head) == is_compiled
    assert dit_blocks.attention(CPU, torch.float32, 48) is dit_blocks.attend_at_once
    assert dit_blocks.attention(CPU, torch.bfloat16, 40) is dit_blocks.attend_by_head
    q, k, v = torch.randn(3, 2, 30, 4, 48).bfloat16()
    exact = dit_blocks.attend_at_once(q.float(), k.float(), v.float())
    assert difference(attend(q[:, 9:], k, v).float(), exact[:, 9:]) < TOLERANCES[torch.bfloat16]


def test_a_solution_with_the_fast_dit() -> None:
    """Prepared times, shared state and rows without guidance give what the plain estimator gives."""
    plain = shaken()
    given = dit_inputs(1, 21)
    ref_mel = given["prompt"][:, :, :8]
    settings = FlowSettings(4, "midpoint", 0.7, cfg_until=0.6, sway=-0.5)
    rest = (given["x"], ref_mel, given["condition"], given["style"], settings)
    with torch.inference_mode():
        exact = solve_flow(plain, *rest)
        found = solve_flow(FastDiT(plain, torch.float32, CPU), *rest)
    assert difference(found[..., 8:], exact[..., 8:]) < TOLERANCES[torch.float32]


def test_offsets_of_a_voice_move_both_forms_alike() -> None:
    plain, given, config = shaken(), dit_inputs(1, 21), tiny_dit_config()
    flat = 0.3 * torch.randn(1, n_offsets(config), generator=torch.Generator().manual_seed(2))
    offsets = voice_offsets(flat, config)
    assert torch.equal(torch.cat([offsets.style.flatten(), *(part.flatten() for part in offsets.times)]), flat[0])
    fast = FastDiT(plain, torch.float32, CPU)
    settings = FlowSettings(4, "midpoint", 0.7, cfg_until=0.6)
    rest = (given["x"], given["prompt"][:, :, :8], given["condition"], given["style"], settings)
    with torch.inference_mode():
        exact = plain(**given, offsets=offsets.times)
        assert difference(exact, plain(**given)) > 0.1
        assert torch.equal(plain(**given, offsets=voice_offsets(0 * flat, config).times), plain(**given))
        assert difference(fast(**given, offsets=offsets.times), exact) < TOLERANCES[torch.float32]
        solved = [solve_flow(acoustic.adapted(each, offsets.times), *rest) for each in (plain, fast)]
        assert difference(solved[1][..., 8:], solved[0][..., 8:]) < TOLERANCES[torch.float32]
        assert difference(solved[0][..., 8:], solve_flow(plain, *rest)[..., 8:]) > 0.1
    assert acoustic.adapted(fast, None) is fast


@pytest.mark.parametrize("n_prompt", [1, 4, 13, 35])
def test_frames_of_the_prompt_are_left_out_without_a_trace(n_prompt: int) -> None:
    """However the convolutions reach back into it, and where they reach beyond its start."""
    plain, given = shaken(), dit_inputs(1, 40)
    fast = FastDiT(plain, torch.float32, CPU)
    assert 1 < fast._wavenet.reach < 13
    both = {name: torch.cat([given[name], torch.zeros_like(given[name])]) for name in ("prompt", "style", "condition")}
    with torch.inference_mode():
        whole, part = (fast.prepare(**both, times=[0.3, 0.7], start=start) for start in (0, n_prompt))
        for index, n_rows in ((0, 2), (1, 1)):
            expected, found = whole(given["x"], index, n_rows), part(given["x"], index, n_rows)
            assert not found[..., :n_prompt].any()
            assert difference(found[..., n_prompt:], expected[..., n_prompt:]) < 1e-5


@pytest.mark.parametrize("compute", ["reference", "exact", "fast"])
def test_s2mel_of_a_pack(mini_pack: Path, compute: Compute) -> None:
    pack = open_pack(mini_pack)
    golden = load_file(GOLDEN / "s2mel.safetensors")
    condition = torch.cat([golden["prompt_condition"], golden["target_condition"]], dim=1)
    settings = FlowSettings(int(golden["steps"]), "euler", float(golden["cfg_rate"]))
    s2mel = pack.module("s2mel", lambda: LatentS2Mel(pack.config.s2mel))
    done = acoustic.prepare_s2mel(s2mel, compute, CPU)
    assert isinstance(s2mel.get_submodule("cfm.estimator"), FastDiT) == (compute != "reference")
    with torch.inference_mode():
        mel = solve_flow(s2mel.cfm.estimator, golden["noise"], golden["ref_mel"], condition, golden["style"], settings)
    assert difference(mel[..., golden["ref_mel"].shape[-1] :], golden["mel"]) < TOLERANCES[done.dtype]


@pytest.mark.parametrize("compute", ["reference", "exact", "fast"])
def test_vocoder_of_a_pack(mini_pack: Path, compute: Compute) -> None:
    pack = open_pack(mini_pack)
    golden = load_file(GOLDEN / "vocoder.safetensors")
    vocoder = pack.module("vocoder", lambda: BigVGAN(pack.config.vocoder))
    n_activations = sum(type(m).__name__ == "AntiAliasedSnake" for m in vocoder.modules())
    vocoder, done = acoustic.prepare_vocoder(vocoder, compute, CPU)
    fuses = compute != "reference" and find_library() is not None
    assert isinstance(vocoder, FastVocoder) == fuses
    assert done.fused_activations == (n_activations if fuses else 0)
    assert done.dtype == numbers_of(CPU, compute).dit
    with torch.inference_mode():
        waveform = vocoder(golden["mel"])
    assert difference(waveform.unsqueeze(1), golden["audio"]) < TOLERANCES[done.dtype]
    assert (waveform.unsqueeze(1) - golden["audio"]).norm() < 0.02 * golden["audio"].norm()


@pytest.mark.parametrize("compute", ["exact", "fast"])
def test_vocoder_without_compiled_kernels(mini_pack: Path, compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU and where nothing could be compiled: the plain network, its last layers in fp32."""
    monkeypatch.setattr(acoustic, "last_activation", lambda device, dtype: None)
    pack = open_pack(mini_pack)
    golden = load_file(GOLDEN / "vocoder.safetensors")
    given = pack.module("vocoder", lambda: BigVGAN(pack.config.vocoder))
    vocoder, done = acoustic.prepare_vocoder(given, compute, CPU)
    assert vocoder is given and done == acoustic.Prepared(numbers_of(CPU, compute).dit)
    dtypes = {name: parameter.dtype for name, parameter in vocoder.named_parameters()}
    for name, dtype in dtypes.items():
        assert dtype == (torch.float32 if name.startswith(("activation_post", "conv_post")) else done.dtype), name
    with torch.inference_mode():
        assert difference(vocoder(golden["mel"]).unsqueeze(1), golden["audio"]) < TOLERANCES[done.dtype]


@pytest.mark.parametrize("rates", [((4, 8), (2, 4)), ((8, 16), (3, 7), (2, 2))])
def test_upsampling_as_an_ordinary_convolution(rates: tuple[tuple[int, int], ...]) -> None:
    for rate, n_taps in rates:
        torch.manual_seed(rate)
        plain = nn.ConvTranspose1d(6, 5, n_taps, stride=rate, padding=(n_taps - rate) // 2).requires_grad_(False)
        x = torch.randn(2, 6, 11)
        with torch.inference_mode():
            found = fast_vocoder._Upsampling(plain, torch.float32, FormChoice((4,)), 1)(x.transpose(1, 2).contiguous())
            assert difference(found.transpose(1, 2), plain(x)) < 1e-5
    with pytest.raises(ValueError, match="stride"):
        fast_vocoder._Upsampling(nn.ConvTranspose1d(4, 4, 5, stride=2, padding=0), torch.float32, FormChoice((4,)), 1)


@pytest.mark.parametrize("packs", [True, False])
def test_the_fast_vocoder_is_the_vocoder(mini_pack: Path, packs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch, of single frames, and where the library takes no weights in its layout."""
    library = find_library()
    if library is None:
        pytest.skip("the compiled kernels were not built")
    monkeypatch.setattr(prepacked_conv, "can_compile", lambda dtype: False)
    monkeypatch.setattr(prepacked_conv, "can_prepack", lambda dtype: packs and can_prepack(dtype))
    pack = open_pack(mini_pack)
    plain = pack.module("vocoder", lambda: BigVGAN(pack.config.vocoder))
    activate = last_activation(CPU, torch.float32)
    assert activate is not None
    fast = FastVocoder(plain, torch.float32, activate)
    assert (fast.n_packed > 0) == (packs and can_prepack(torch.float32))
    for rows, n_frames in ((2, 37), (1, 1), (1, 300)):
        mel = torch.randn(rows, pack.config.vocoder.n_mels, n_frames, generator=torch.Generator().manual_seed(rows)) - 5
        with torch.inference_mode():
            assert difference(fast(mel), plain(mel)) < TOLERANCES[torch.float32]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kernel", "dilation", "bias"), [(1, 1, True), (3, 5, False), (11, 3, True)])
def test_packed_convolutions(dtype: torch.dtype, kernel: int, dilation: int, bias: bool) -> None:
    if not can_prepack(dtype):
        pytest.skip(f"this PyTorch does not pack {dtype} weights on this processor")
    torch.manual_seed(0)
    padding = kernel // 2 * dilation
    plain = nn.Conv1d(24, 40, kernel, dilation=dilation, padding=padding, bias=bias).to(dtype).requires_grad_(False)
    x = torch.randn(2, 24, 77).to(dtype)
    with torch.inference_mode():
        packed = PrepackedConv1d(plain)
        for given in (x, x.repeat(1, 1, 4)):  # of few results there are more in between
            found = packed(given)
            assert found.dtype == dtype and found.is_contiguous()
            assert difference(found.float(), plain(given).float()) < TOLERANCES[dtype] / 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kernel", "dilation", "bias"), [(1, 1, True), (3, 5, False), (11, 3, True)])
def test_compiled_convolutions(dtype: torch.dtype, kernel: int, dilation: int, bias: bool) -> None:
    if not can_compile(dtype):
        pytest.skip(f"our kernel does not multiply {dtype} on this processor")
    torch.manual_seed(0)
    plain = nn.Conv1d(24, 40, kernel, dilation=dilation, padding=kernel // 2 * dilation, bias=bias)
    plain.to(dtype).requires_grad_(False)
    x = torch.randn(2, 24, 77).to(dtype)
    with torch.inference_mode():
        compiled = prepacked(plain)
        assert isinstance(compiled, CompiledConv1d)
        expected = copy.deepcopy(plain).float()(x.float())
        found = compiled(x)
        assert found.dtype == dtype and found.is_contiguous()
        assert difference(found.float(), expected) < TOLERANCES[dtype] / 5
        with_residual = compiled.channels_last(x.transpose(1, 2), expected.transpose(1, 2).to(dtype))
        assert difference(with_residual.float(), 2 * expected.transpose(1, 2)) < TOLERANCES[dtype] / 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_convolution_of_the_vocoder_is_compiled_for_a_length(mini_pack: Path, dtype: torch.dtype) -> None:
    activate = last_activation(CPU, dtype)
    if activate is None or not can_compile(dtype) or not can_compile(torch.float32):
        pytest.skip(f"our kernel does not multiply {dtype} on this processor")
    pack = open_pack(mini_pack)
    fast = FastVocoder(pack.module("vocoder", lambda: BigVGAN(pack.config.vocoder)), dtype, activate)
    kinds = [type(m) for m in fast.modules()]
    assert kinds.count(CompiledConv1d) == fast.n_packed > 0
    assert PrepackedConv1d not in kinds and nn.Conv1d not in kinds


@pytest.mark.parametrize("form", [ImageConv1d, SignalConv1d, MatrixConv1d])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_vocoder_as_on_cuda(
    mini_pack: Path, dtype: torch.dtype, form: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Convolutions in one of their forms, the activation for (B, T, C) by whoever has one."""
    seen: list[tuple[int, ...]] = []
    pack = open_pack(mini_pack)
    plain = pack.module("vocoder", lambda: BigVGAN(pack.config.vocoder))

    def activate(x: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
        assert alpha.dtype == gain.dtype == torch.float32 and x.is_contiguous()
        return anti_aliased_snake(x.transpose(1, 2).float(), alpha, gain.reciprocal()).transpose(1, 2).to(x.dtype)

    def image(plain: nn.Module, dtype: torch.dtype, choose: FormChoice, samples_per_frame: int) -> nn.Module:
        assert isinstance(plain, nn.Conv1d)
        plain = plain if plain.weight.is_meta else copy.deepcopy(plain)
        seen.append((samples_per_frame, *plain.weight.shape[:2]))
        return fast_vocoder._Convolution(form(plain.to(dtype)))

    monkeypatch.setattr(fast_vocoder, "_convolution", image)
    fast = FastVocoder(plain, dtype, activate)
    forms = [m for m in fast.modules() if isinstance(m, form)]
    assert len(forms) > 20 and forms_used(fast) == {form.form: len(forms)}
    if form is ImageConv1d:
        assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in forms)
    # Lengths to measure at: the samples per frame so far.
    assert seen[0][0] == 1 and seen[-1][0] == math.prod(pack.config.vocoder.upsample_rates)
    mel = torch.randn(1, pack.config.vocoder.n_mels, 9, generator=torch.Generator().manual_seed(0)) - 5
    with torch.inference_mode():
        assert difference(fast(mel), plain(mel)) < TOLERANCES[dtype]


def test_on_cuda_the_activation_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Triton, and where it computes something else, the plain network serves."""
    assert activation._by_triton(CPU, torch.float32) is not None or importlib.util.find_spec("triton") is None
    module = type(sys)("triton_snake")
    module.snake_last = lambda x, alpha, gain: x  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "edgetts.backends.kernels.triton_snake", module)
    assert activation._by_triton(CPU, torch.float32) is None
    monkeypatch.setitem(sys.modules, "edgetts.backends.kernels.triton_snake", None)
    assert activation._by_triton(CPU, torch.float32) is None


def test_unusual_convolutions_are_not_packed() -> None:
    with pytest.raises(ValueError, match="stride"):
        PrepackedConv1d(nn.Conv1d(4, 4, 3, stride=2))
    if can_compile(torch.float32):
        with pytest.raises(ValueError, match="stride"):
            CompiledConv1d(nn.Conv1d(4, 4, 3, stride=2))
    assert not can_prepack(torch.float64)
