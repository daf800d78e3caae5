"""Scores of words change the probability of the codes that said them, within bounds."""

from __future__ import annotations

import copy
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from edgetts.models.gpt import GPT
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from recipes.tiny import dims
from recipes.tiny.common import stage_weights
from recipes.tiny.corpus.text import N_TOKENS
from recipes.tiny.stages import policy_step
from recipes.tiny.stages.init_from_pack import start_from
from recipes.tiny.stages.policy_step import (
    Voiced,
    advantages,
    batches_of,
    direction,
    read_rewards,
    read_samples,
    step,
    weighted,
    word_scores,
)

CONFIG = dataclasses.replace(dims.model_config(N_TOKENS, None, (1,) * 8).gpt, model_dim=32, n_layers=1, n_heads=2)
GOOD, BAD = [5, 6, 7, 8], [5, 60, 70, 8]  # the second word is said by the codes in the middle
WORDS = [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("words", "of_word", "expected"),
    [
        ([0, 0, 1], [0.5, -1.0], [0.5, 0.5, -1.0, 0]),
        ([-1, 0, -1, 1], [0.5, -1.0], [0, 0.5, 0, -1.0, 0]),  # codes of no word have none
        ([0, 2, 2, 2], [0.0, -1.0, 0.5], [0, -0.5, -0.5, 0.5, 0]),  # skipped: the codes that come instead
        ([0, 2], [0.0, -1.0, 0.0], [0, -1.0, 0]),  # fewer than two of them
        ([0, 0], [0.0, -1.0, -1.0], [0, 0, -2.0]),  # it ended too early
        ([2, 2], [-1.0, 0.0, 0.5], [-0.5, -0.5, 0]),
        ([0, 3, 3], [0.0, -1.0, -1.0, 0.0], [0, -2.0, -2.0, 0]),  # two in a row
    ],
)
def test_the_advantage_of_a_word_is_that_of_its_codes(
    words: list[int], of_word: list[float], expected: list[float]
) -> None:
    found = advantages(words, len(words), np.array(of_word))
    assert found.tolist() == pytest.approx(expected)


def sample(text: str, codes: list[int], said: list[float], heard: list[float] | None = None) -> dict[str, Any]:
    return {"text": text, "voice": "a", "ids": [3, 9, 9], "codes": codes, "words": WORDS, "said": said, "heard": heard}


def written(folder: Path, lines: list[dict[str, Any]]) -> Path:
    (folder / policy_step.SAMPLES_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    generator = torch.Generator().manual_seed(0)
    save_file(
        {"a": torch.randn(CONFIG.n_conditioning_latents + 1, CONFIG.model_dim, generator=generator)},
        folder / policy_step.VOICES_FILE,
    )
    return folder


def test_scores_count_what_was_said_and_what_was_heard() -> None:
    assert word_scores(sample("", [], [1.0, 0.5])).tolist() == [2.0, 1.0]
    assert word_scores(sample("", [], [1.0, 0.5], [-1.0, -50.0])).tolist() == [1.0, -5.0]


def test_samples_are_compared_with_those_of_their_text(tmp_path: Path) -> None:
    same = [1.0, 1.0, 1.0]
    lines = [sample("one", GOOD, same), sample("one", BAD, [1.0, 0.25, 1.0]), sample("one", GOOD, same)]
    lines += [sample("alike", GOOD, same)] * 3 + [sample("two", GOOD, same), sample("two", BAD, [1.0, 0.0, 1.0])]
    groups = read_samples(written(tmp_path, lines) / policy_step.SAMPLES_FILE, 0, 1)
    assert [len(group) for group in groups] == [3, 0]
    found = groups[0]
    assert [s.codes.tolist() for s in found] == [GOOD, BAD, GOOD]  # neither equal samples nor too few
    total = torch.stack([s.advantage for s in found]).sum(0)
    assert total.tolist() == pytest.approx([0] * 5)
    assert found[1].advantage.tolist() == pytest.approx([0, -0.5, -0.5, 0, 0])  # a nat below the mean
    assert found[0].ids.tolist() == [0, 3, 9, 9, 1]


def log_probabilities(gpt: GPT, folder: Path, codes: list[int]) -> torch.Tensor:
    """(T,) of codes in decoding, computed without batches."""
    voice = policy_step.load_file(folder / policy_step.VOICES_FILE)["a"][None]
    with torch.no_grad():
        prefix = gpt.prefix(voice[:, :-1], voice[:, -1], torch.tensor([[3, 9, 9]]))
        positions = torch.tensor([0, 2, 3, 4][: len(codes)])
        mel = gpt.mel_embed(torch.tensor([[CONFIG.start_mel_token, *codes[:-1]]]), positions)
        hidden = gpt(torch.cat([prefix, mel], 1))[0, prefix.shape[1] :]
        return gpt.logits(hidden).log_softmax(-1).gather(-1, torch.tensor(codes)[:, None])[:, 0]


@pytest.fixture
def gpt(monkeypatch: pytest.MonkeyPatch) -> GPT:
    monkeypatch.setattr(policy_step, "autocast", lambda kind: torch.autocast(kind, enabled=False))
    torch.manual_seed(0)
    return GPT(CONFIG)


def texts(n: int) -> list[dict[str, Any]]:
    """Three samples of each text, the first of which is better."""
    return [
        line
        for k in range(n)
        for line in (sample(str(k), GOOD, [1.0] * 3), *[sample(str(k), BAD, [1.0, 0.0, 1.0])] * 2)
    ]


def test_every_fifth_text_is_held_out(tmp_path: Path) -> None:
    learned, held_out = read_rewards([written(tmp_path, texts(11))], CONFIG)
    assert (len(learned), len(held_out)) == (9 * 3, 2 * 3)
    assert learned[0].voice.shape == (CONFIG.n_conditioning_latents + 1, CONFIG.model_dim)


def test_a_batch_weighs_each_code_with_its_advantage(tmp_path: Path, gpt: GPT) -> None:
    """Of sequences with other lengths, too."""
    folder = written(tmp_path, texts(1))
    learned, _ = read_rewards([folder], CONFIG)
    short = Voiced(dataclasses.replace(learned[0].sample, codes=torch.tensor([5]), advantage=torch.tensor([2.0, 0.0])),
                   learned[0].voice)  # fmt: skip
    expected = sum(
        float((log_probabilities(gpt, folder, v.sample.codes.tolist()) * v.sample.advantage[:-1]).sum())
        for v in [*learned, short]
    )
    assert float(weighted(gpt, [short, *learned]).detach()) == pytest.approx(expected, rel=1e-4)


def test_the_end_counts(tmp_path: Path, gpt: GPT) -> None:
    """Only through the end here: the last words are missing in one sample."""
    lines = [sample("0", GOOD, [1.0] * 3), {**sample("0", [5], [1.0, 0.0, 0.0]), "words": [0]}] * 2
    learned, _ = read_rewards([written(tmp_path, lines)], CONFIG)
    short = next(v for v in learned if len(v.sample.codes) == 1)
    assert short.sample.advantage.tolist() == pytest.approx([0, -1.0])
    with torch.no_grad():
        before = weighted(gpt, [short])
        gpt.mel_head.bias[CONFIG.stop_mel_token] += 1.0
        assert weighted(gpt, [short]) < before


def test_batches_hold_all_samples_once(tmp_path: Path) -> None:
    learned, _ = read_rewards([written(tmp_path, texts(4))], CONFIG)
    parts = list(batches_of(learned, n_tokens=2 * learned[0].n_tokens))
    assert len(parts) == 6 and {id(v) for part in parts for v in part} == {id(v) for v in learned}


def test_better_words_become_more_probable(tmp_path: Path, gpt: GPT) -> None:
    folder = written(tmp_path, texts(10))
    learned, held_out = read_rewards([folder], CONFIG)
    before = copy.deepcopy(gpt)
    gain = step(gpt, learned, held_out, 1e-3)
    assert gain > 0.001
    good, bad = (log_probabilities(gpt, folder, c) - log_probabilities(before, folder, c) for c in (GOOD, BAD))
    assert good[1:3].min() > 0 > bad[1:3].max()


def test_each_parameter_moves_alike_where_all_batches_agree(
    tmp_path: Path, gpt: GPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the root of the number of batches: so many times as far as one batch would move it."""
    monkeypatch.setattr(policy_step, "DAMPING", 0.0)
    learned, _ = read_rewards([written(tmp_path, texts(4))], CONFIG)
    same = learned[:3]
    monkeypatch.setattr(policy_step, "batches_of", lambda _samples: iter([same] * 4))
    bias = [p is gpt.mel_head.bias for p in gpt.parameters()].index(True)
    found = direction(gpt, learned)[bias]
    assert found[[6, 7, 60, 70]].tolist() == pytest.approx([2, 2, -2, -2], rel=1e-3)


def test_codes_have_the_positions_of_decoding(tmp_path: Path, gpt: GPT) -> None:
    """Which leave out the second."""
    torch.nn.init.constant_(gpt.mel_pos_embedding.emb.weight[1], torch.nan)
    learned, _ = read_rewards([written(tmp_path, texts(1))], CONFIG)
    assert weighted(gpt, learned).isfinite()


def test_the_command_changes_the_gpt_that_was_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves a work folder that `swap_gpt` takes: the same conditioners, another GPT."""
    start_from(open_pack(builtin_pack()), tmp_path / "work")
    monkeypatch.setattr(sys.modules[__name__], "CONFIG", dims.model_config(N_TOKENS, None, (1,) * 8).gpt)
    folder = written(tmp_path, texts(5))
    monkeypatch.setattr(sys, "argv", ["policy_step", "--work", str(tmp_path / "work"), "--rewards", str(folder)])
    policy_step.main()
    before = torch.load(tmp_path / "work" / "gpt" / "start.pt", weights_only=True)
    after = stage_weights(tmp_path / "work", "gpt")
    moved = (after["average_gpt"]["mel_head.weight"] - before["average_gpt"]["mel_head.weight"]).abs().max()
    assert 0 < float(moved) < 20 * policy_step.SIZE
    for name, value in before["average_conditioning"].items():
        assert torch.equal(after["average_conditioning"][name], value)
