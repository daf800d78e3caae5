"""One place says which number types a stage has, and a stage for which 16 bits were too few is made again in 32."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from edgetts import TTS
from edgetts.attempt import GuardedCodes
from edgetts.backends import device as devices
from edgetts.backends import networks, prepare
from edgetts.backends.device import choose_device, memory_in_words, pick_device, probe_cuda
from edgetts.backends.numbers import Numbers, default_compute, forbid_tf32, numbers_of
from edgetts.decoding.flow import FlowSettings
from edgetts.errors import GenerationError, NonFiniteError, PackError, UsageError
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.pipeline import Pipeline
from edgetts.voices.speaker import Speaker, make_speaker

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32


def card(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)


@pytest.mark.parametrize(
    ("capability", "gpt", "training"), [((9, 0), BF16, BF16), ((8, 7), BF16, BF16), ((7, 5), FP16, FP32)]
)
def test_numbers_on_cuda(
    capability: tuple[int, int], gpt: torch.dtype, training: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(monkeypatch, capability)
    fast = numbers_of(CUDA, "fast")
    assert fast == Numbers(gpt, gpt, gpt, FP16, FP16, training, FP32, FP32, FP32, tf32=True)
    assert fast.names() == {
        "gpt": str(gpt)[6:],
        "kv_cache": str(gpt)[6:],
        "head": str(gpt)[6:],
        "dit": "float16",
        "vocoder": "float16",
    }
    for compute in ("exact", "reference"):
        values = dataclasses.asdict(numbers_of(CUDA, compute))  # type: ignore[arg-type]
        assert values.pop("tf32") is False and set(values.values()) == {FP32}


@pytest.mark.parametrize(("has_bf16", "half"), [(True, BF16), (False, FP32)])
def test_numbers_on_the_cpu(has_bf16: bool, half: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)
    fast = numbers_of(CPU, "fast")
    assert (fast.gpt, fast.kv_cache, fast.dit, fast.vocoder, fast.ends) == (FP32, FP32, half, half, FP32)
    assert not numbers_of(CPU, "exact").tf32


@pytest.fixture
def _tf32_as_it_was() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("_tf32_as_it_was")
def test_exact_has_all_bits_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    card(monkeypatch, (9, 0))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    forbid_tf32(CUDA, numbers_of(CUDA, "fast"))
    forbid_tf32(CPU, numbers_of(CPU, "exact"))
    assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    forbid_tf32(CUDA, numbers_of(CUDA, "exact"))
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32


def test_the_default_is_fast_where_its_cost_is_known() -> None:
    measured = {"compute": {"fast": {"numbers": numbers_of(CPU, "fast").names()}}}
    elsewhere = {"compute": {"fast": {"numbers": {"dit": "float8"}}}}
    assert default_compute(CUDA, {}, None) == "fast"
    assert [default_compute(CPU, {}, q) for q in (None, {}, {"compute": {}}, elsewhere)] == ["exact"] * 4
    assert default_compute(CPU, {}, measured) == "fast"
    assert default_compute(CPU, {"compute": "reference"}, measured) == "reference"
    assert default_compute(CUDA, {"compute": "exact"}, None) == "exact"


def test_a_pack_names_its_way_to_compute(mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = open_pack(mini_pack)
    with_name = dataclasses.replace(pack.manifest, defaults={"n_steps": 3, "compute": "fast"})
    monkeypatch.setattr(pack, "manifest", with_name)
    assert TTS(pack, CPU, None).compute == "fast"  # type: ignore[arg-type]
    assert TTS(pack, CPU, None, compute="exact").compute == "exact"  # type: ignore[arg-type]
    assert SynthesisOptions.of(with_name.defaults, {}).n_steps == 3
    with pytest.raises(PackError, match="'quick'"):
        SynthesisOptions.of({"compute": "quick"}, {})
    with pytest.raises(UsageError, match="compute"):
        SynthesisOptions.of({}, {"compute": "fast"})
    assert TTS(open_pack(mini_pack), CPU, None).compute == "exact"  # type: ignore[arg-type]


# --- devices -------------------------------------------------------------------------------------------


def test_a_gpu_is_taken_when_a_kernel_ran_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices, "probe_cuda", lambda device: "")
    assert choose_device("auto") == CUDA and choose_device("cuda:0") == torch.device("cuda:0")
    monkeypatch.setattr(devices, "probe_cuda", lambda device: "no kernel image is available")
    chosen = pick_device("auto")
    assert chosen.device == CPU and "no kernel image is available" in chosen.notice
    with pytest.raises(UsageError, match="no kernel image.*Use cpu"):
        choose_device("cuda")
    assert pick_device("cpu").notice == ""


def test_the_probe_looks_at_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe_cuda(CPU) == ""  # the same code on a device that is here
    assert probe_cuda(CUDA) or torch.cuda.is_available()
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *size, **how: 2 * ones(*size, **how))
    assert "it computed" in probe_cuda(CPU)


def test_why_the_gpu_is_not_used_is_told_once(mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices, "probe_cuda", lambda device: "the driver is too old")
    tts = TTS.load(mini_pack)
    assert tts.device == CPU and tts.compute == "exact"
    assert [n for n in tts._notices if "the driver is too old" in n]


def test_a_full_memory_gets_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100 << 20, 4 << 30))
    words = r"memory of cuda is full \(100 of 4096 MiB are free\).*memory_budget"
    with pytest.raises(GenerationError, match=words), memory_in_words(CUDA, "the vocoder"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
    with pytest.raises(ZeroDivisionError), memory_in_words(CUDA, "the vocoder"):
        raise ZeroDivisionError


# --- overflow ------------------------------------------------------------------------------------------


@pytest.fixture
def narrow(mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline that computes in 16 bits whatever the processor."""
    half = Numbers(gpt=FP32, kv_cache=FP32, head=FP32, dit=BF16, vocoder=BF16)
    for module in (networks, prepare):
        monkeypatch.setattr(module, "numbers_of", lambda d, c: half if c == "fast" else numbers_of(d, c))
    return Pipeline(open_pack(mini_pack), CPU, compute="fast")


def speaker_of(pipeline: Pipeline) -> Speaker:
    from edgetts.bench.stages import voice_of_length

    return make_speaker(pipeline.networks, voice_of_length(pipeline.pack, 0.3))


@torch.inference_mode()
def test_a_stage_that_overflows_is_made_again_in_float32(narrow: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Pipeline(narrow.pack, CPU, compute="exact")
    speaker, other = speaker_of(narrow), speaker_of(exact)
    condition = torch.randn(1, 20, narrow.config.s2mel.dit.content_dim, generator=torch.Generator().manual_seed(0))
    noise, settings = narrow.noise(20, torch.Generator().manual_seed(1)), FlowSettings(2, "euler", 0.7)
    assert narrow.prepared["s2mel"].dtype == BF16

    plain = narrow.mel(speaker, condition, noise, settings)
    assert plain.isfinite().all() and not narrow.networks.take_notices()

    spoil(narrow.s2mel.get_submodule("cfm.estimator"), monkeypatch)
    found = narrow.mel(speaker, condition, noise, settings)
    assert torch.equal(found, exact.mel(other, condition, noise, settings))
    assert narrow.networks.take_notices() == [
        "The stage s2mel overflowed in bfloat16 and computes in float32 from now on."
    ]
    assert narrow.prepared["s2mel"].dtype == FP32 and narrow.networks.take_notices() == []

    spoil(narrow.vocoder, monkeypatch)
    samples = narrow.waveform(found)
    assert torch.equal(samples, exact.waveform(found)) and narrow.prepared["vocoder"].dtype == FP32
    assert len(narrow.networks.take_notices()) == 1


def spoil(network: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it computes is infinite from now on."""
    if hasattr(network, "_estimate"):
        monkeypatch.setattr(network, "_estimate", lambda x, *rest: torch.full_like(x, torch.inf).repeat(2, 1, 1))
    else:
        network.register_forward_hook(lambda _m, _i, y: y / 0)


def test_only_16_bits_are_widened_and_once(narrow: Pipeline) -> None:
    tries: list[int] = []

    def fails(stage: Any, **options: Any) -> None:
        while True:
            with narrow.networks.widening(stage, **options):
                tries.append(1)
                raise NonFiniteError("no number")

    for stage, expected in (("gpt", 1), ("vocoder", 2), ("vocoder", 1)):  # the GPT is in float32 on the CPU
        tries.clear()
        with pytest.raises(NonFiniteError):
            fails(stage)
        assert len(tries) == expected
    with pytest.raises(NonFiniteError):
        fails("s2mel", can_repeat=lambda: False)
    assert narrow.networks.dtype("s2mel") == BF16


@torch.inference_mode()
def test_a_gpt_in_16_bits(mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: embeddings, cache and head in bfloat16, latents and scores in float32; and its overflow."""
    half = Numbers(gpt=BF16, kv_cache=BF16, head=BF16, dit=FP32, vocoder=FP32)
    monkeypatch.setattr(networks, "numbers_of", lambda d, c: half if c == "fast" else numbers_of(d, c))
    pipeline, exact = (Pipeline(open_pack(mini_pack), CPU, compute=c) for c in ("fast", "exact"))  # type: ignore[arg-type]
    assert {p.dtype for p in pipeline.gpt.parameters()} == {BF16}
    speaker, options = speaker_of(pipeline), SynthesisOptions(n_beams=1, guards=False, max_codes=12, do_sample=False)
    prompt = pipeline.prompt(speaker, [5, 6, 7])
    assert prompt.embeddings.dtype == BF16
    decoding = GuardedCodes(pipeline.networks, prompt, options, 1)
    assert len(list(decoding)) == 12
    codes = decoding.attempt.codes
    latents, same = pipeline.features(prompt, codes), exact.features(exact.prompt(speaker, [5, 6, 7]), codes)
    assert latents.dtype == FP32
    assert 0 < float((latents - same).norm() / same.norm()) < 0.05

    head = pipeline.gpt.mel_head
    monkeypatch.setattr(head, "weight", torch.nn.Parameter(head.weight * torch.inf, requires_grad=False))
    decoding = GuardedCodes(pipeline.networks, prompt, options, 1)
    codes = [code for new in decoding for code in new]
    assert decoding.attempt.codes == codes and len(codes) == 12 and pipeline.gpt.mel_head.weight.dtype == FP32
    assert pipeline.features(prompt, codes).dtype == FP32  # the prompt is of the GPT that was there before
    assert len(pipeline.networks.take_notices()) == 1


def test_a_segment_tells_it(narrow: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow.networks._notices.append("a stage computes in float32")
    options = SynthesisOptions(n_beams=1, guards=False, max_codes=6, n_steps=1)
    speech = narrow.speak(speaker_of(narrow), [5, 6, 7], options, seed=1)
    assert speech.notices == ("a stage computes in float32",)
