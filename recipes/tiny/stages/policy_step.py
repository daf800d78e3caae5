"""Stage `policy_step`: one step of the policy gradient, on samples whose words have scores (`word_rewards`).

In: `samples.jsonl` and `voices.safetensors` of one or more folders, and `WORK/gpt/start.pt` (`init_from_pack`), whose
GPT was sampled. Out: `WORK/gpt/last.pt`, for `swap_gpt` alone. It does not know how the scores were made.

Several samples of one text in one voice are compared word by word: a code's advantage is the score of its word less the
mean over the samples. The gradient of the advantages' sum of log-probabilities is summed over all samples before
anything changes, since the gradients of single batches are nearly all noise: within ordinary training they had no
effect. Each parameter moves by its gradient over the root of the batches' squared gradients, times `--size`.

Every fifth text is left out of the gradient; what its advantages gain shows whether the step helps other texts.

    python -m recipes.tiny.stages.policy_step --work WORK --rewards HEARD --rewards SAID

Source: Shao et al. 2024, "DeepSeekMath" (advantages within a group, here of words).
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import load_file
from torch import Tensor

from edgetts.models.gpt import GPT
from edgetts.pack.config import GPTConfig
from recipes.tiny import dims
from recipes.tiny.common import autocast, fast_attention
from recipes.tiny.corpus.data import mask_of, pad
from recipes.tiny.corpus.text import N_TOKENS
from recipes.tiny.stages.gpt_data import joined

SAMPLES_FILE, VOICES_FILE = "samples.jsonl", "voices.safetensors"
LEAST_HEARD = -6.0  # log-probabilities below count as this
SAID_WEIGHT = 2.0  # nats per share of a word's sounds; so much worse is heard what lacks them
FULL_ADVANTAGE = 2.0  # nats above the mean that count fully
LEAST_ADVANTAGE = 0.02
FEWEST_SAMPLES = 3  # of a text, to compare them
ABSENT_CODES = 2  # of the following word, which stand for a word that has none
HELD_OUT_EVERY = 5
TOKENS_PER_BATCH = 3500
DAMPING = 0.1  # of the mean root in a tensor
SIZE = 4e-4
STAGE = "gpt"
TINY = 1e-12


@dataclass(frozen=True)
class Sample:
    """One code sequence of a text, with advantages."""

    voice: str
    ids: Tensor  # (Tt,) with start and stop
    codes: Tensor  # (Tc,)
    advantage: Tensor  # (Tc + 1,) of each code and of the end


def word_scores(line: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The score of each word of a sample, in nats."""
    scores = SAID_WEIGHT * np.array(line["said"], np.float64)
    return scores if line["heard"] is None else scores + np.maximum(line["heard"], LEAST_HEARD)


def advantages(words: Sequence[int], n_codes: int, of_word: np.ndarray[Any, Any]) -> Tensor:
    """(n_codes + 1,) of each code and of the end. words: the word of each code, -1 if none.

    A word without codes gives its advantage to the first codes of the next word that has some, or to the end.
    """
    found = np.zeros(n_codes + 1)
    places = [np.flatnonzero(np.array(words) == word) for word in range(len(of_word))]
    for word, advantage in enumerate(of_word):
        if len(places[word]):
            found[places[word]] += advantage
            continue
        later = next((p for p in places[word + 1 :] if len(p)), None)
        found[later[:ABSENT_CODES] if later is not None else [n_codes]] += advantage
    return torch.from_numpy(found).float()


def read_samples(path: Path, start: int, stop: int) -> list[list[Sample]]:
    """By text, the samples that are better or worse than others of it. start, stop: the ids around each text."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in path.read_text().splitlines():
        sample = json.loads(line)
        groups[sample["text"]].append(sample)
    made: list[list[Sample]] = []
    for group in groups.values():
        if len(group) < FEWEST_SAMPLES:
            continue
        scores = np.stack([word_scores(sample) for sample in group])  # (K, W)
        relative = ((scores - scores.mean(0)) / FULL_ADVANTAGE).clip(-1, 1)
        made.append([])
        for sample, of_word in zip(group, relative, strict=True):
            advantage = advantages(sample["words"], len(sample["codes"]), of_word)
            if advantage.abs().max() < LEAST_ADVANTAGE:
                continue
            ids = torch.tensor([start, *sample["ids"], stop])
            made[-1].append(Sample(sample["voice"], ids, torch.tensor(sample["codes"]), advantage))
    return made


@dataclass(frozen=True)
class Voiced:
    """A sample, and what the GPT gets of its voice (N + 1, C): conditioning latents and emotion vector."""

    sample: Sample
    voice: Tensor

    @property
    def n_tokens(self) -> int:
        return len(self.voice) + len(self.sample.ids) + len(self.sample.codes) + 2


def read_rewards(folders: Sequence[Path], config: GPTConfig) -> tuple[list[Voiced], list[Voiced]]:
    """The samples to learn from, and those of every `HELD_OUT_EVERY`th text."""
    parts: tuple[list[Voiced], list[Voiced]] = [], []
    for folder in folders:
        voices = load_file(folder / VOICES_FILE)
        found = read_samples(folder / SAMPLES_FILE, config.start_text_token, config.stop_text_token)
        for number, group in enumerate(found):
            part = parts[number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1]
            part += [Voiced(sample, voices[sample.voice]) for sample in group]
    return parts


def batches_of(samples: Sequence[Voiced], n_tokens: int = TOKENS_PER_BATCH) -> Iterator[list[Voiced]]:
    """All samples once, those of similar length together, at most `n_tokens` padded tokens each."""
    made: list[Voiced] = []
    for voiced in sorted(samples, key=lambda v: v.n_tokens):
        if made and voiced.n_tokens * (len(made) + 1) > n_tokens:
            yield made
            made = []
        made.append(voiced)
    if made:
        yield made


def weighted(gpt: GPT, batch: Sequence[Voiced]) -> Tensor:
    """The sum of the log-probabilities of all codes and ends, each times its advantage."""
    samples = [voiced.sample for voiced in batch]
    text, text_lengths = pad([sample.ids for sample in samples])
    codes, code_lengths = pad([sample.codes for sample in samples])
    advantage, _ = pad([sample.advantage for sample in samples])
    voice = torch.stack([voiced.voice for voiced in batch])
    targets = torch.nn.functional.pad(codes, (0, 1))
    targets[torch.arange(len(codes)), code_lengths] = gpt.config.stop_mel_token
    real = mask_of(code_lengths + 1, targets.shape[1])
    head = gpt.condition(voice[:, :-1], voice[:, -1])
    embeddings, where = joined(gpt, head, text, text_lengths, codes, code_lengths, skip_position=True)
    with autocast("cpu"):
        hidden = gpt(embeddings).float()
        logits = gpt.logits(hidden.gather(1, where[..., None].expand(-1, -1, hidden.shape[-1]))[real])
    found = logits.float().log_softmax(-1).gather(-1, targets[real][:, None])[:, 0]
    return (found * advantage[real]).sum()


def direction(gpt: GPT, samples: Sequence[Voiced]) -> list[Tensor]:
    """The sum of the gradients over the root of the sum of the batches' squared gradients, by parameter."""
    parameters = list(gpt.parameters())
    total, squares = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    parts = list(batches_of(samples))
    for batch in track(parts, description="gradient", transient=True):
        found = torch.autograd.grad(weighted(gpt, batch), parameters, allow_unused=True)
        for gradient, summed, squared in zip(found, total, squares, strict=True):
            if gradient is not None:
                summed.add_(gradient)
                squared.add_(gradient.square())
    roots = [squared.sqrt() for squared in squares]
    return [summed / (root + DAMPING * root.mean()).clamp_min(TINY) for summed, root in zip(total, roots, strict=True)]


@torch.no_grad()
def mean_weighted(gpt: GPT, samples: Sequence[Voiced]) -> float:
    """`weighted` of all samples, by the sum of their advantages' sizes."""
    total = sum(float(voiced.sample.advantage.abs().sum()) for voiced in samples)
    return sum(float(weighted(gpt, batch)) for batch in batches_of(samples)) / max(total, TINY)


def step(gpt: GPT, learned: Sequence[Voiced], held_out: Sequence[Voiced], size: float) -> float:
    """Change the GPT. Returns the gain on the samples held out: log-probability, weighted by advantage."""
    before = mean_weighted(gpt, held_out)
    changes = direction(gpt, learned)
    with torch.no_grad():
        for parameter, change in zip(gpt.parameters(), changes, strict=True):
            parameter.add_(change, alpha=size)
    return mean_weighted(gpt, held_out) - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument(
        "--rewards", type=Path, action="append", required=True, help="folder of word_rewards, repeatable"
    )
    parser.add_argument("--size", type=float, default=SIZE, help="of the step")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    state = torch.load(args.work / STAGE / "start.pt", weights_only=True)
    gpt = GPT(dims.model_config(N_TOKENS, None, (1,) * 8).gpt)
    gpt.load_state_dict(state["average_gpt"])
    learned, held_out = read_rewards(args.rewards, gpt.config)
    with fast_attention():
        gain = step(gpt, learned, held_out, args.size)
    print(f"{len(learned)} samples; gain on {len(held_out)} of other texts: {gain:.4f}")
    weights = gpt.state_dict()
    torch.save({"modules": state | {"gpt": weights, "average_gpt": weights}}, args.work / STAGE / "last.pt")


if __name__ == "__main__":
    main()
