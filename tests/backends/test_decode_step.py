"""The decoding step on fixed addresses makes the codes of the loop on the host; bursts, limits, reuse."""

from __future__ import annotations

import dataclasses
import itertools
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.mini_gpt import mini_gpt
from helpers.paths import GOLDEN
from helpers.tiny_gpt import prompts, tiny_gpt
from safetensors.torch import load_file

from edgetts.backends.device_decoder import DeviceDecoder, DeviceDecoders
from edgetts.backends.kernels import DEQUANTIZED, Epilogue
from edgetts.backends.linear import QuantizedLinear
from edgetts.backends.runners import EagerRunner
from edgetts.backends.step_state import KEY_BUCKET, NOISE_RING, StepKind, bucket_of
from edgetts.decoding.bursts import BURST
from edgetts.decoding.decode import CodeStream, DecodeResult, generate_codes
from edgetts.decoding.latents import LatentPass
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.settings import DecodeSettings
from edgetts.errors import GenerationError, UsageError
from edgetts.models.gpt import GPT

GREEDY = DecodeSettings(do_sample=False, n_beams=1, max_codes=20)
FILTERS: dict[str, dict[str, Any]] = {
    "upstream": {},
    "all codes": {"top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0},
    "top-p alone": {"top_k": 0, "top_p": 0.9, "temperature": 1.3},
    "few": {"top_k": 5, "top_p": 0.3, "repetition_penalty": 2.0},
}


@cache
def mini() -> GPT:
    return mini_gpt()


@cache
def tiny() -> GPT:
    return tiny_gpt("int8_channel", None, DEQUANTIZED)


def mini_prompt(gpt: GPT | None = None) -> GPTPrompt:
    golden = load_file(GOLDEN / "gpt.safetensors")
    return GPTPrompt.build(gpt or mini(), golden["conditioning_latents"], golden["emovec"], golden["text_ids"].long())


def seeded(settings: DecodeSettings, seed: int = 3) -> torch.Generator | None:
    return torch.Generator().manual_seed(seed) if settings.do_sample else None


def pool(gpt: GPT) -> DeviceDecoders:
    return DeviceDecoders(gpt, EagerRunner)


def host(gpt: GPT, prompt: GPTPrompt, settings: DecodeSettings, **options: Any) -> DecodeResult:
    return generate_codes(gpt, prompt, settings, seeded(settings), **options)


def by_step(
    gpt: GPT, prompt: GPTPrompt, settings: DecodeSettings, decoders: DeviceDecoders | None = None, **options: Any
) -> DecodeResult:
    return generate_codes(gpt, prompt, settings, seeded(settings), decoders=decoders or pool(gpt), **options)


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("do_sample", [False, True])
@pytest.mark.parametrize("n_beams", [1, 3])
def test_codes_of_the_mini_model(n_beams: int, do_sample: bool, filters: str) -> None:
    """Over a second bucket with three beams."""
    settings = DecodeSettings(n_beams=n_beams, do_sample=do_sample, max_codes=90, **FILTERS[filters])
    prompt = mini_prompt()
    expected = host(mini(), prompt, settings)
    assert len(expected.codes) == 90
    assert by_step(mini(), prompt, settings) == expected


@pytest.mark.parametrize("do_sample", [False, True])
@pytest.mark.parametrize("n_beams", [1, 3])
def test_codes_of_the_built_in_model_to_its_stop_code(n_beams: int, do_sample: bool) -> None:
    settings = DecodeSettings(n_beams=n_beams, do_sample=do_sample, repetition_penalty=2.0, max_codes=400)
    prompt = prompts()[0].of(tiny())
    expected = host(tiny(), prompt, settings)
    assert expected.stopped and len(expected.codes) > 20
    assert by_step(tiny(), prompt, settings, pool(tiny())) == expected


@pytest.mark.parametrize("n_beams", [1, 3])
def test_codes_equal_upstream(n_beams: int) -> None:
    name = "greedy_codes" if n_beams == 1 else "beam3_codes"
    settings = DecodeSettings(do_sample=False, n_beams=n_beams, max_codes=60)
    found = by_step(mini(), mini_prompt(), settings)
    assert found.codes == load_file(GOLDEN / "gpt.safetensors")[name][0].tolist()


@pytest.mark.parametrize("scheme", ["int4_group", "int8_channel"])
@pytest.mark.parametrize("n_beams", [1, 3])
def test_quantized_layers_serve_inside_the_step(scheme: str, n_beams: int) -> None:
    gpt = tiny_gpt(scheme, 32 if scheme == "int4_group" else None, "dequantize-per-call")
    settings = DecodeSettings(do_sample=False, n_beams=n_beams, repetition_penalty=2.0, max_codes=60)
    prompt = prompts()[0].of(gpt)
    assert by_step(gpt, prompt, settings) == host(gpt, prompt, settings)


def test_a_kernel_adds_gelu_and_residual_as_it_writes() -> None:
    """In each layer, and nothing is added to queries, keys and values; the codes stay what they are."""
    gpt, asked = tiny_gpt("int8_channel", None, "dequantize-per-call"), list[tuple[bool, bool]]()

    def fused(packed: Any, x: torch.Tensor, epilogue: Epilogue) -> torch.Tensor:
        asked.append((epilogue.gelu, epilogue.residual is not None))
        return epilogue(base.multiply(packed, x, None))

    settings = DecodeSettings(do_sample=False, n_beams=1, repetition_penalty=2.0, max_codes=10)
    expected = host(gpt, prompts()[0].of(gpt), settings)
    layers = [m for m in gpt.gpt.h.modules() if isinstance(m, QuantizedLinear)]
    base = layers[0].kernel
    for layer in layers:
        layer.kernel = dataclasses.replace(base, fused=fused)
    assert by_step(gpt, prompts()[0].of(gpt), settings) == expected
    assert asked == [(False, True), (True, False), (False, True)] * gpt.config.n_layers * 9


@pytest.mark.parametrize("n_beams", [1, 3])
def test_steps_give_what_the_host_gives_with_each(n_beams: int) -> None:
    settings = DecodeSettings(n_beams=n_beams, max_codes=40)
    expected = list(CodeStream(mini(), mini_prompt(), settings, seeded(settings)))
    decoders = pool(mini())
    stream = CodeStream(mini(), mini_prompt(), settings, seeded(settings), decoders=decoders)
    assert list(itertools.islice(stream, 4)) == expected[:4]
    assert list(stream) == expected[4:]
    assert list(stream) == [] and not stream.stopped
    assert stream.codes == by_step(mini(), mini_prompt(), settings, decoders).codes


class Counted(DeviceDecoder):
    """Counts the steps that were launched, prefill included."""

    n_launched = 0

    def prefill(self, *arguments: Any) -> None:
        super().prefill(*arguments)
        self.n_launched = 1

    def launch(self, n: int) -> int:
        done = super().launch(n)
        self.n_launched += done
        return done


class One(DeviceDecoders):
    """Lends one decoder, again and again."""

    def __init__(self, gpt: GPT, n_rows: int) -> None:
        super().__init__(gpt, EagerRunner)
        self.decoder = Counted(gpt, n_rows, EagerRunner())
        self.n_lent = 0

    def take(self, n_rows: int) -> DeviceDecoder:
        self.n_lent += 1
        return self.decoder

    def give_back(self, decoder: Any) -> None:
        assert decoder is self.decoder
        self.n_lent -= 1


@pytest.mark.parametrize("n_beams", [1, 3])
def test_stopping_ends_within_a_burst(n_beams: int) -> None:
    """Nothing is launched any more, and at most what was ahead is thrown away."""
    settings = DecodeSettings(n_beams=n_beams, max_codes=60)
    decoders = One(mini(), n_beams)
    stream = CodeStream(mini(), mini_prompt(), settings, seeded(settings), decoders=decoders)
    assert decoders.n_lent == 0 and decoders.decoder.n_launched == 0  # before the first step is asked for
    assert len(list(itertools.islice(stream, 4))) == 4 and decoders.n_lent == 1
    stream.close()
    assert list(stream) == [] and not stream.stopped
    assert decoders.decoder.n_launched <= 1 + 2 * BURST
    assert decoders.n_lent == 0


@pytest.mark.parametrize("n_beams", [1, 3])
def test_a_decoder_comes_back_when_its_burst_fails(n_beams: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise ValueError("the device is gone")

    decoders = One(mini(), n_beams)
    settings = DecodeSettings(do_sample=False, n_beams=n_beams, max_codes=60)
    stream = CodeStream(mini(), mini_prompt(), settings, None, decoders=decoders)
    next(stream)
    monkeypatch.setattr(decoders.decoder, "poll", fail)
    with pytest.raises(ValueError):
        list(stream)
    assert decoders.n_lent == 0


@pytest.mark.parametrize("n_beams", [1, 3])
def test_what_comes_behind_the_end_is_thrown_away(n_beams: int) -> None:
    """The built-in model stops by itself in the middle of a burst, and steps were launched beyond it."""
    settings = DecodeSettings(do_sample=False, n_beams=n_beams, repetition_penalty=2.0, max_codes=400)
    decoders = One(tiny(), n_beams)
    prompt = prompts()[0].of(tiny())
    found = by_step(tiny(), prompt, settings, decoders)
    assert found == host(tiny(), prompt, settings) and found.stopped
    assert len(found.codes) + 1 < decoders.decoder.n_launched <= len(found.codes) + 2 * BURST + 40
    again = by_step(tiny(), prompt, settings, decoders)
    assert again == found


def test_no_step_is_launched_beyond_the_cap() -> None:
    decoder = Counted(mini(), 1, EagerRunner())
    decoder.prefill(mini_prompt(), DecodeSettings(do_sample=False, n_beams=1, max_codes=11), None)
    assert (decoder.launch(8), decoder.launch(8), decoder.launch(8)) == (8, 2, 0)
    assert [len(decoder.poll()) for _ in range(3)] == [1, 8, 2]


def test_what_was_not_read_is_not_written_over() -> None:
    decoder = DeviceDecoder(mini(), 1, EagerRunner())
    decoder.prefill(mini_prompt(), DecodeSettings(n_beams=1, max_codes=99), torch.Generator())
    decoder.launch(NOISE_RING - 1)
    with pytest.raises(RuntimeError, match="16 choices were not read"):
        decoder.launch(1)


@pytest.mark.parametrize("n_beams", [1, 3])
def test_slots_serve_text_after_text(n_beams: int) -> None:
    """The same memory, whatever was said and how before; more of it where a text may need more."""
    decoders = One(mini(), n_beams)
    long, short = (DecodeSettings(n_beams=n_beams, max_codes=n) for n in (40, 12))
    greedy = DecodeSettings(do_sample=False, n_beams=n_beams, max_codes=20)
    expected = {s: host(mini(), mini_prompt(), s) for s in (long, short, greedy)}
    assert by_step(mini(), mini_prompt(), long, decoders) == expected[long]
    state = decoders.decoder.state
    for settings in (short, greedy, long, short):
        assert by_step(mini(), mini_prompt(), settings, decoders) == expected[settings]
        assert decoders.decoder.state is state
    assert state is not None and state.n_slots % KEY_BUCKET == 0
    more = DecodeSettings(n_beams=n_beams, max_codes=300)
    stream = CodeStream(mini(), mini_prompt(), more, seeded(more), decoders=decoders)
    steps = list(itertools.islice(stream, 20))
    stream.close()
    assert len(steps) == 20 and (n_beams > 1 or stream.codes == expected[long].codes[:20])
    assert decoders.decoder.state is not state and decoders.decoder.state.n_slots > state.n_slots


def test_engines_are_kept_for_the_next_text_and_lent_to_one_at_a_time() -> None:
    decoders = pool(mini())
    first, second, third = decoders.take(1), decoders.take(1), decoders.take(3)
    assert first is not second
    for decoder in (first, second, third):
        decoders.give_back(decoder)
    assert decoders.take(3) is third
    assert decoders.take(1) is second
    assert decoders.take(1) is not first  # no more than two were kept


def test_two_texts_by_turns() -> None:
    """As when streams share the networks, a code each."""
    settings = DecodeSettings(n_beams=1, max_codes=30)
    decoders = pool(mini())
    streams = [CodeStream(mini(), mini_prompt(), settings, seeded(settings, s), decoders=decoders) for s in (1, 2)]
    pairs = list(zip(*streams, strict=True))
    for i, seed in enumerate((1, 2)):
        expected = generate_codes(mini(), mini_prompt(), settings, torch.Generator().manual_seed(seed))
        assert [pair[i] for pair in pairs] == [[code] for code in expected.codes]


@pytest.mark.parametrize("n_beams", [1, 3])
def test_numbers_that_overflow_are_an_error_and_do_not_stay(n_beams: int) -> None:
    gpt = mini_gpt()
    settings = DecodeSettings(do_sample=False, n_beams=n_beams, max_codes=40)
    prompt, decoders = mini_prompt(gpt), One(gpt, n_beams)
    expected = host(gpt, prompt, settings)
    stream = CodeStream(gpt, prompt, settings, None, decoders=decoders)
    code = expected.codes[9]
    row = gpt.mel_embedding.weight[code].clone()
    gpt.mel_embedding.weight[code] = float("nan")
    with pytest.raises(GenerationError, match="non-finite scores after [1-9]") as on_host:
        host(gpt, prompt, settings)
    with pytest.raises(GenerationError) as by_the_step:
        list(stream)
    assert str(by_the_step.value) == str(on_host.value)
    assert stream.codes == expected.codes[: len(stream.codes)] and (len(stream.codes) == 10 or n_beams > 1)
    assert decoders.n_lent == 0 and not prompt.states
    gpt.mel_embedding.weight[code] = row
    assert by_step(gpt, prompt, settings, decoders) == expected
    gpt.mel_head.bias[5] = float("nan")
    with pytest.raises(GenerationError, match="non-finite scores after 0 codes"):
        by_step(gpt, prompt, settings, decoders)


def test_what_the_engine_cannot_take_is_refused() -> None:
    settings = DecodeSettings(n_beams=1)
    with pytest.raises(UsageError, match="no generator"):
        generate_codes(mini(), mini_prompt(), settings, None, decoders=pool(mini()))
    with pytest.raises(UsageError, match="positions for 1 to 1815"):
        by_step(mini(), mini_prompt(), DecodeSettings(n_beams=1, max_codes=1816))
    elsewhere: Any = SimpleNamespace(device=torch.device("cuda"))
    with pytest.raises(UsageError, match="The generator is on cuda; codes are drawn with one on the CPU"):
        generate_codes(mini(), mini_prompt(), settings, elsewhere, decoders=pool(mini()))


def test_latents_start_from_the_states_of_decoding() -> None:
    """However the codes come; to rounding, as sums are of other lengths."""
    prompt = mini_prompt()
    expected = LatentPass(mini(), prompt).append(codes := host(mini(), prompt, GREEDY).codes)
    by_step(mini(), prompt, GREEDY)
    assert len(prompt.states) == 1
    torch.testing.assert_close(LatentPass(mini(), prompt).append(codes), expected, rtol=1e-4, atol=1e-4)
    for sizes in ((1, 1, 18), (7, 13)):
        in_parts = LatentPass(mini(), prompt)
        parts = [in_parts.append(part.tolist()) for part in torch.tensor(codes).split(sizes)]
        torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=1e-4, atol=1e-4)


def test_another_attempt_runs_the_prefix_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, decoders = mini_prompt(), pool(mini())
    first = by_step(mini(), prompt, GREEDY, decoders)
    monkeypatch.setattr(GPT, "forward", lambda *_: pytest.fail("the prefix was run"))
    assert by_step(mini(), prompt, GREEDY, decoders) == first


def test_kinds_and_buckets() -> None:
    sampled = DecodeSettings(n_beams=3)
    assert StepKind.of(sampled, 8194) == StepKind(3, True, 64)
    assert StepKind.of(DecodeSettings(n_beams=1, top_k=64), 8194) == StepKind(1, True, 8194)
    assert StepKind.of(DecodeSettings(n_beams=1, top_k=0), 8194) == StepKind(1, True, 8194)
    assert StepKind.of(DecodeSettings(n_beams=1, do_sample=False), 8194) == StepKind(1, False, 1)
    assert [bucket_of(n) for n in (1, 256, 257, 512)] == [256, 256, 512, 512]
