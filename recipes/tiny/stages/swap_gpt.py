"""Copies a pack with the GPT of a work folder, and fits S2Mel to its latents; all other files stay byte-identical.

In: a pack, the work folder where its GPT was trained further (`train_gpt --keep-conditioning`), and a corpus. Out: a
new pack. S2Mel reads the GPT's latents through linear layers (`gpt_layer`), and training has moved the latents. The
layers are fitted anew, by least squares, so that S2Mel gets what it got of the GPT before. With `--share` below 1 the
new GPT is the weighted mean of the trained one and the pack's.

    python -m recipes.tiny.stages.swap_gpt --pack PACK --work WORK --corpus CACHE --out NEW [--share 0.6]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgetts.errors import UsageError
from edgetts.models.conditioning import Conditioning
from edgetts.models.gpt import GPT
from edgetts.pack.load import Pack, open_pack
from recipes.tiny import dims
from recipes.tiny.common import stage_weights
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.text import N_TOKENS
from recipes.tiny.stages.export import RULES
from recipes.tiny.stages.s2mel_data import LATENTS_BATCH, latents_of, training_by_voice
from recipes.tiny.stages.swap import Weights, mixed, swap_component

GPT_COMPONENT, S2MEL_COMPONENT = "gpt", "s2mel"
LAYER = "gpt_layer"
N_RECORDINGS = 480
RIDGE = 1e-4  # of the latents' mean variance


@torch.no_grad()
def latents(gpt_weights: Weights, conditioning: Conditioning, corpus: Corpus, chosen: Sequence[int]) -> Tensor:
    """Latents (N, C) of all codes of the chosen recordings, each conditioned on another one of its voice."""
    gpt = GPT(dims.model_config(N_TOKENS, None, (1,) * 8).gpt).eval()
    gpt.load_state_dict(gpt_weights)
    by_voice = training_by_voice(corpus)
    generator = np.random.default_rng(0)
    found = []
    for first in range(0, len(chosen), LATENTS_BATCH):
        part = chosen[first : first + LATENTS_BATCH]
        references = [int(generator.choice(by_voice[corpus.items[i]["voice"]])) for i in part]
        found += latents_of(gpt, conditioning, corpus, part, references)
    return torch.cat(found)


def fitted(s2mel: Weights, before: Tensor, after: Tensor) -> dict[str, Tensor]:
    """The weights of S2Mel with `gpt_layer` fitted, so that latents `after` (N, C) give what `before` (N, C) gave.

    The last linear layer stays. The ones before it become one map to its input, of full rank, and identities.
    """
    numbers = sorted({int(name.split(".")[1]) for name in s2mel if name.startswith(f"{LAYER}.")})
    *firsts, last = numbers
    assert firsts, "a single layer has nothing before it to fit"
    weight = s2mel[f"{LAYER}.{last}.weight"].double()
    narrow = before.double()  # (N, R), the input of the last layer
    for k in firsts:
        narrow = narrow @ s2mel[f"{LAYER}.{k}.weight"].double().T + s2mel[f"{LAYER}.{k}.bias"].double()
    mean, target = after.double().mean(0), narrow.mean(0)
    x, y = after.double() - mean, narrow - target
    gram = x.T @ x
    solution = torch.linalg.solve(gram + RIDGE * gram.diagonal().mean() * torch.eye(len(gram)).double(), x.T @ y)
    error = ((x @ solution - y) @ weight.T).square().sum() / (y @ weight.T).square().sum()
    print(f"{100 * float(error):.1f} % of the variance of what S2Mel gets is not explained by the new latents")
    maps = [solution.T, *[torch.eye(solution.shape[1]).double()] * (len(firsts) - 1)]
    new = dict(s2mel)
    for i, (k, matrix) in enumerate(zip(firsts, maps, strict=True)):
        rows, columns = s2mel[f"{LAYER}.{k}.weight"].shape
        padded = torch.zeros(rows, columns).double()
        padded[: matrix.shape[0], : matrix.shape[1]] = matrix
        bias = torch.zeros(rows).double()
        if i == 0:
            bias[: len(target)] = target - mean @ solution
        new[f"{LAYER}.{k}.weight"], new[f"{LAYER}.{k}.bias"] = padded.float(), bias.float()
    return new


def swap_gpt(
    pack: Pack, work: Path, corpus: Corpus, out: Path, n_recordings: int = N_RECORDINGS, share: float = 1.0
) -> Path:
    """Write a copy of the pack with the GPT of `work` to `out`, and return it.

    share: of the GPT of `work`; the rest is the pack's. Raises UsageError if `out` exists, for an impossible share, or
    if the GPT was trained with other conditioners than the pack's.
    """
    trained, kept = stage_weights(work, "gpt"), pack.state_dict("conditioning")
    old_gpt, conditioners = pack.state_dict(GPT_COMPONENT), trained["average_conditioning"]
    new_gpt = mixed(trained["average_gpt"], old_gpt, share)
    if not all(torch.allclose(conditioners[name], value, atol=1e-5) for name, value in kept.items()):
        raise UsageError(
            f"The GPT of {work} was trained with other conditioners than those of {pack.path}: train it with "
            "--keep-conditioning, or export the whole pack anew."
        )
    conditioning = Conditioning(dims.model_config(N_TOKENS, None, (1,) * 8).conditioning).eval()
    conditioning.load_state_dict(kept)
    chosen = np.random.default_rng(0).permutation(corpus.training())[:n_recordings].tolist()
    before, after = (latents(w, conditioning, corpus, chosen) for w in (old_gpt, new_gpt))
    s2mel = fitted(pack.state_dict(S2MEL_COMPONENT), before, after)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        half = swap_component(
            pack.path, Path(folder) / "half", GPT_COMPONENT, new_gpt, pack.config, rules=RULES[GPT_COMPONENT]
        )
        return swap_component(half, out, S2MEL_COMPONENT, s2mel, pack.config, rules=RULES[S2MEL_COMPONENT])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0, help="of the trained GPT; the rest is the pack's")
    args = parser.parse_args()
    print(swap_gpt(open_pack(args.pack), args.work, Corpus(args.corpus), args.out, share=args.share))


if __name__ == "__main__":
    main()
