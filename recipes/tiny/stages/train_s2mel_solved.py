"""Stage `s2mel_solved`: trains S2Mel through the solver of synthesis.

In: corpora as of the stage `s2mel_latents`, and S2Mel of that stage, or of a pack (`init_from_pack`). Out:
`WORK/s2mel_solved/last.pt` (S2Mel and its moving average).

Flow matching teaches the velocity at every flow time. Synthesis takes three steps from zeros, the first of them with
guidance, and what comes out is rougher than the recording and farther from it than it need be. Here the loss is that
of the solved mel, of a quarter of the batches after the two steps of a stream's urgent chunk; half the loss of
flow matching is added, so that other settings of the solver stay usable. Words get clearer. The mels are also smoother,
and less like the voice: a mean of the weights with those before (`swap_s2mel --share 0.5`) keeps the voice.

Evaluation: the mean absolute error of the solved mel of held-out recordings, in nats.

    python -m recipes.tiny.stages.train_s2mel_solved --work WORK --corpus CACHE --minutes 40
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgetts.decoding.flow import solve_flow
from edgetts.decoding.settings import FlowSettings
from edgetts.models.s2mel import LatentS2Mel
from edgetts.options import SynthesisOptions
from recipes.tiny import dims
from recipes.tiny.common import Run, autocast, average_into, fast_attention, fast_muon, stage_weights
from recipes.tiny.corpus.data import Corpus, n_phones
from recipes.tiny.corpus.text import N_TOKENS
from recipes.tiny.stages.export import DEFAULTS
from recipes.tiny.stages.s2mel_data import Batch, Pairs, Shapes, add_latents, add_styles
from recipes.tiny.stages.train_codec import load_codec
from recipes.tiny.stages.train_s2mel import (
    DROPPED_SHARE,
    NOISE_SCALE,
    SOLVED_STAGE,
    STAGES,
    WEIGHTS,
    AuxiliaryHeads,
    final_weights,
    flow_losses,
    flow_times,
    optimizers_of,
    stepped,
)

# Prompts of 1 s, as at synthesis, and some longer ones: in a stream, earlier speech follows the prompt.
SHAPES: Shapes = (((86, 176, 6), 0.5), ((150, 192, 5), 0.25), ((86, 320, 3), 0.25))
FLOW_SHARE = 0.5  # of the losses of flow matching
URGENT_EVERY = 4  # batches, of which one is solved as urgent
LR_SCALE = 0.25
WARMUP_STEPS = 40
AVERAGE_DECAY = 0.99
EVALUATE_EVERY = 100
EVALUATED_BATCHES = 10


def solver_settings() -> tuple[FlowSettings, FlowSettings]:
    """Of ordinary and of urgent chunks, by the defaults of the exported pack."""
    options = SynthesisOptions.of(DEFAULTS, {})
    return options.flow_settings(), options.first_flow_settings()


def solved_mel(model: LatentS2Mel, batch: Batch, settings: FlowSettings) -> Tensor:
    """The mel (B, M, Tt) that synthesis makes for a batch, from zeros; it has a gradient."""
    assert settings.noise_scale == 0.0, "the flow starts from zeros"
    n_prompt, n_target = batch.prompt.shape[-1], batch.mel.shape[-1]
    with autocast(batch.mel.device.type):
        parts = ((batch.prompt_semantic, n_prompt), (batch.semantic, n_target))
        condition = torch.cat([model.length_regulator(features, n) for features, n in parts], 1).float()
        start = torch.zeros(len(batch.mel), batch.mel.shape[1], n_prompt + n_target)
        found = solve_flow(model.estimator, start, batch.prompt, condition, batch.style, settings)
    return found[..., n_prompt:]


def train(work: Path, corpora: Sequence[Corpus], minutes: float) -> None:
    """Train the stage; its progress is in `WORK/s2mel_solved`."""
    torch.manual_seed(0)
    generator = np.random.default_rng()
    config = dims.model_config(N_TOKENS, None, (1,) * 8)
    model = LatentS2Mel(config.s2mel)
    model.load_state_dict(final_weights(work))
    average = copy.deepcopy(model)
    auxiliary = AuxiliaryHeads(config.s2mel.dit.content_dim, n_phones(work), torch.zeros(dims.N_MELS))
    if (work / STAGES[-1]).exists():
        auxiliary.load_state_dict(stage_weights(work, STAGES[-1]).get("aims", auxiliary.state_dict()))
    optimizers = optimizers_of(model, auxiliary, LR_SCALE)
    parts = {"s2mel": model, "average": average, "aims": auxiliary}
    run = Run(work, SOLVED_STAGE, minutes, parts, optimizers, warmup_steps=WARMUP_STEPS)
    codec = load_codec(work)
    pairs, held = Pairs(corpora, codec, False, SHAPES), Pairs(corpora[:1], codec, True, SHAPES)
    usual, urgent = solver_settings()

    @torch.no_grad()
    def evaluate() -> dict[str, float]:
        same = np.random.default_rng(0)
        batches = (held.batch(same, average, latents=True) for _ in range(EVALUATED_BATCHES))
        errors = [float((solved_mel(average, batch, usual) - batch.mel).abs().mean()) for batch in batches]
        return {"solved": round(float(np.mean(errors)), 4)}

    for step in run:
        batch = pairs.batch(generator, model, latents=True)
        error = solved_mel(model, batch, urgent if step % URGENT_EVERY == 0 else usual) - batch.mel
        solved = error.abs().mean() + error.square().mean() * 0.5
        t = flow_times(len(batch.mel))
        dropped = torch.rand(len(t)) < DROPPED_SHARE
        flow = flow_losses(model, batch, t, NOISE_SCALE * torch.randn(batch.mel.shape), dropped, auxiliary)
        loss = solved + FLOW_SHARE * sum((WEIGHTS[name] * part for name, part in flow.items()), torch.zeros(()))
        norm = stepped(model, optimizers, loss)
        average_into(average, model, min(AVERAGE_DECAY, (step + 1) / (step + 20)))
        run.log(solved=solved.detach(), gradient=norm, **{name: part.detach() for name, part in flow.items()})
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            run.write_log({"eval": evaluate()})
    run.write_log({"eval": evaluate()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, action="append", required=True)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    corpora = [Corpus(c) for c in args.corpus]
    add_styles(args.work, corpora)
    add_latents(args.work, corpora)
    with fast_attention(), fast_muon():
        train(args.work, corpora, args.minutes)


if __name__ == "__main__":
    main()
