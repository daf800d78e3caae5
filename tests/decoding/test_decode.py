"""The decode loop: upstream's codes exactly, seeds, streams, cancelling, limits."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from helpers.mini_gpt import mini_gpt
from helpers.paths import GOLDEN
from safetensors.torch import load_file
from torch import Tensor

from edgetts.decoding import decode
from edgetts.decoding.decode import CodeStream, DecodeResult, generate_codes, max_codes_limit
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.settings import DecodeSettings
from edgetts.errors import GenerationError, UsageError
from edgetts.models.gpt import GPT

Voice = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(scope="module")
def gpt() -> GPT:
    return mini_gpt()


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "gpt.safetensors")


@pytest.fixture(scope="module")
def voice(golden: dict[str, Tensor]) -> Voice:
    return golden["conditioning_latents"], golden["emovec"], golden["text_ids"].long()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def greedy(n_beams: int = 1, max_codes: int = 60) -> DecodeSettings:
    return DecodeSettings(do_sample=False, n_beams=n_beams, max_codes=max_codes)


@pytest.mark.parametrize(("n_beams", "name"), [(1, "greedy_codes"), (3, "beam3_codes")])
def test_codes_equal_upstream(gpt: GPT, voice: Voice, golden: dict[str, Tensor], n_beams: int, name: str) -> None:
    result = generate_codes(gpt, GPTPrompt.build(gpt, *voice), greedy(n_beams), None)
    assert result == DecodeResult(golden[name][0].tolist(), stopped=False)


def test_ids_of_the_brackets_are_left_out_of_the_text(gpt: GPT, voice: Voice) -> None:
    latents, emotion, ids = voice
    noisy = torch.cat([torch.tensor([[0, 1]]), ids[:, :9], torch.tensor([[1]]), ids[:, 9:]], dim=1)
    found, expected = GPTPrompt.build(gpt, latents, emotion, noisy), GPTPrompt.build(gpt, *voice)
    assert torch.equal(found.embeddings, expected.embeddings)


@pytest.mark.parametrize("n_beams", [1, 2, 4])
def test_same_seed_same_codes(gpt: GPT, voice: Voice, n_beams: int) -> None:
    settings = DecodeSettings(n_beams=n_beams, max_codes=12)
    first, again, other = (
        generate_codes(gpt, GPTPrompt.build(gpt, *voice), settings, seeded(s)).codes for s in (1, 1, 2)
    )
    assert len(first) == 12
    assert first == again
    assert first != other


@pytest.mark.parametrize("n_beams", [2, 3])
def test_beams_without_a_cache_say_the_same(gpt: GPT, voice: Voice, n_beams: int) -> None:
    """Every history recomputed from the start, so that a cache row out of order would show."""
    prefix = GPTPrompt.build(gpt, *voice).embeddings
    start = gpt.config.start_mel_token
    beams: list[tuple[float, list[int]]] = [(0.0, [])]
    for _ in range(10):
        options = []
        for total, codes in beams:
            positions = torch.tensor([0, *range(2, len(codes) + 2)])
            embedded = gpt.mel_embed(torch.tensor([[start, *codes]]), positions)
            logits = gpt.logits(gpt(torch.cat([prefix, embedded], dim=1)))[0, -1]
            scores = logits.log_softmax(dim=-1)
            scores[[1, start, *codes]] *= 10.0
            values, indices = scores.topk(2 * n_beams)
            options += [(total + v, [*codes, i]) for v, i in zip(values.tolist(), indices.tolist(), strict=True)]
        beams = sorted(options, key=lambda o: -o[0])[:n_beams]
    assert all(gpt.config.stop_mel_token not in codes for _, codes in beams)
    result = generate_codes(gpt, GPTPrompt.build(gpt, *voice), greedy(n_beams, max_codes=10), None)
    assert result.codes == beams[0][1]


def with_stop_bias(bias: float) -> GPT:
    gpt = mini_gpt()
    gpt.mel_head.bias[gpt.config.stop_mel_token] += bias
    return gpt


@pytest.mark.parametrize("n_beams", [1, 3])
def test_the_stop_code_ends_and_is_not_returned(voice: Voice, n_beams: int) -> None:
    settings = DecodeSettings(n_beams=n_beams, max_codes=60)
    gpt = with_stop_bias(6.0)
    prompt = GPTPrompt.build(gpt, *voice)
    result = generate_codes(gpt, prompt, settings, seeded())
    assert result.stopped
    assert len(result.codes) < 60
    assert 8193 not in result.codes
    assert generate_codes(with_stop_bias(100.0), prompt, settings, seeded()).codes == []


def step_by_step(
    gpt: GPT, voice: Voice, settings: DecodeSettings, n_steps: int | None = None
) -> tuple[CodeStream, list[list[int]]]:
    """A stream, and what its first steps give; None: all of them."""
    stream = CodeStream(gpt, GPTPrompt.build(gpt, *voice), settings, seeded())
    return stream, list(itertools.islice(stream, n_steps))


@pytest.mark.parametrize("do_sample", [True, False])
@pytest.mark.parametrize("n_beams", [1, 3])
def test_steps_give_the_result_in_order(gpt: GPT, voice: Voice, n_beams: int, do_sample: bool) -> None:
    settings = DecodeSettings(do_sample=do_sample, n_beams=n_beams, max_codes=40)
    whole = generate_codes(gpt, GPTPrompt.build(gpt, *voice), settings, seeded())
    stream, steps = step_by_step(gpt, voice, settings)
    assert list(itertools.chain(*steps)) == whole.codes == stream.codes and not stream.stopped
    assert len(steps) == 40 and (n_beams > 1 or {len(new) for new in steps} == {1})
    assert len([new for new in steps if new]) > 1  # not all at the end
    assert list(stream) == []


@pytest.mark.parametrize("n_beams", [1, 3])
def test_no_step_is_computed_before_it_is_asked_for(gpt: GPT, voice: Voice, n_beams: int) -> None:
    """So that a caller stops within one step."""
    n_computed = 0

    def stepper(*arguments: Any) -> Tensor:
        nonlocal n_computed
        n_computed += 1
        hidden: Tensor = gpt(*arguments)
        return hidden

    settings = DecodeSettings(n_beams=n_beams, max_codes=60)
    stream = CodeStream(gpt, GPTPrompt.build(gpt, *voice), settings, seeded(), stepper)
    for n_asked in range(5):
        assert n_computed == max(0, n_asked - 1)  # the first code is of the prefix
        next(stream)
    whole = generate_codes(gpt, GPTPrompt.build(gpt, *voice), settings, seeded())
    assert stream.codes == whole.codes[: len(stream.codes)] and (len(stream.codes) == 5 or n_beams > 1)
    stream.close()
    assert list(stream) == [] and n_computed == 4 and not stream.stopped


@pytest.mark.parametrize("n_beams", [1, 3])
def test_the_step_that_stops_gives_what_is_left(voice: Voice, n_beams: int) -> None:
    gpt = with_stop_bias(6.0)
    stream, steps = step_by_step(gpt, voice, DecodeSettings(n_beams=n_beams, max_codes=60))
    assert stream.stopped and len(steps) < 60 and list(itertools.chain(*steps)) == stream.codes
    assert steps[-1] == [] or n_beams > 1


@pytest.mark.parametrize("n_beams", [1, 3])
def test_decoding_leaves_no_autograd_graph(voice: Voice, n_beams: int) -> None:
    gpt = mini_gpt().requires_grad_(True)
    settings = DecodeSettings(n_beams=n_beams, max_codes=3)
    assert len(generate_codes(gpt, GPTPrompt.build(gpt, *voice), settings, seeded()).codes) == 3


@pytest.mark.parametrize("n_beams", [1, 3])
def test_numbers_that_overflow_are_an_error(voice: Voice, n_beams: int) -> None:
    settings = DecodeSettings(n_beams=n_beams, max_codes=5)
    gpt = with_stop_bias(float("nan"))
    with pytest.raises(GenerationError, match="non-finite scores after 0 codes"):
        generate_codes(gpt, GPTPrompt.build(gpt, *voice), settings, seeded())


def test_what_the_model_cannot_take_is_refused(gpt: GPT, voice: Voice) -> None:
    latents, emotion, ids = voice
    limit = max_codes_limit(gpt.config)
    assert limit == 1815  # upstream's max_mel_tokens
    with pytest.raises(UsageError, match="1816; this model has positions for 1 to 1815"):
        generate_codes(gpt, GPTPrompt.build(gpt, *voice), greedy(max_codes=limit + 1), None)
    with pytest.raises(
        UsageError, match="601 text tokens; the model reads at most 600 at once: shorten a pronunciation"
    ):
        GPTPrompt.build(gpt, latents, emotion, torch.full((1, 601), 5))
    with pytest.raises(UsageError, match="tokenized for another pack"):
        GPTPrompt.build(gpt, latents, emotion, torch.tensor([[5, 12001]]))
    with pytest.raises(UsageError, match="one row"):
        GPTPrompt.build(gpt, latents, emotion, ids.repeat(2, 1))
    with pytest.raises(UsageError, match="no generator"):
        generate_codes(gpt, GPTPrompt.build(gpt, *voice), DecodeSettings(n_beams=1), None)


@pytest.mark.parametrize("n_beams", [1, 3])
def test_a_penalty_of_one_is_not_computed(
    gpt: GPT, voice: Voice, n_beams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(penalty: float) -> list[int]:
        settings = DecodeSettings(n_beams=n_beams, max_codes=30, repetition_penalty=penalty)
        return generate_codes(gpt, GPTPrompt.build(gpt, *voice), settings, seeded()).codes

    penalize, calls = decode.penalize_repetition, list[int]()
    monkeypatch.setattr(decode, "penalize_repetition", lambda *given: calls.append(1) or penalize(*given))
    assert decoded(1.0) and not calls
    assert decoded(1.0 + 1e-12) == decoded(1.0) and calls  # in float32 the same number
