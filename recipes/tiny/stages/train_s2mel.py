"""Stage `s2mel`: codes to mel, by flow matching.

In: corpora with `codes`, `heard`, `mel`, `fbank`, a trained codec and speaker encoder; after the first stage also a
trained GPT. Out: `WORK/STAGE/last.pt` (LatentS2Mel and its running average).

Two stages. `s2mel`: the condition is the codebook's embedding of the codes alone, and `gpt_layer` gives zero.
`s2mel_latents`: with the GPT's latents, from there on.

Each item is an excerpt of a recording, and part of another recording of the same voice as prompt and style, as in
use, with the codes that are heard in it. Items of a batch have one length, because the length regulator's norm must
not see padding. A tenth of the items lose prompt, style and condition, which is the null branch of the guidance.
From the condition a linear layer must also tell the phone of each frame, and with the style another one the mel
itself (the prior loss of Popov et al. 2021, "Grad-TTS"): what is said is found sooner.

What the codes mean is learned near flow time 0, where nothing of the mel is seen yet; half of the items are there.
The flow starts from less noise than usual (`NOISE_SCALE`, and `noise_scale` in the pack's defaults): a small network
leaves noise in what it makes, and words are easier to hear without.

Evaluates itself by the flow-matching error on held-out recordings at fixed times.
"""

from __future__ import annotations

import argparse
import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor, nn

from edgetts.models.campplus import SpeakerEncoder
from edgetts.models.conditioning import Conditioning
from edgetts.models.gpt import GPT
from edgetts.models.repcodec import SemanticCodec
from edgetts.models.s2mel import LatentS2Mel
from recipes.tiny import dims
from recipes.tiny.common import Run, adamw, autocast, average_into, fast_attention, stage_file, stage_weights
from recipes.tiny.corpus.data import Corpus, n_phones, pad
from recipes.tiny.corpus.text import N_TOKENS
from recipes.tiny.stages.train_codec import load_codec
from recipes.tiny.stages.train_gpt import Batch as GPTBatch
from recipes.tiny.stages.train_gpt import sequence

# (prompt, target) mel frames and items of a batch, and how often it is drawn. Long prompts now and then, because users
# give long recordings, and a stream's prompt is what it has said before.
SHAPES = ((96, 176, 12), (258, 192, 7), (258, 384, 5), (48, 480, 6), (320, 96, 8))
SHAPE_SHARES = (0.4, 0.25, 0.12, 0.15, 0.08)
NOISE_SCALE = 0.3
EARLY_SHARE = 0.5  # of items whose flow time is below EARLY_UNTIL
EARLY_UNTIL = 0.2
DROPPED_SHARE = 0.1
WEIGHTS = {"flow": 1.0, "tells": 0.15, "prior": 0.5}
STAGES = ("s2mel", "s2mel_latents")
PEAK_LR_MATRICES = 8e-4  # Muon
PEAK_LR_OTHERS = 6e-4
LR_SCALES = {"s2mel": 1.0, "s2mel_latents": 0.8}
REFERENCE_CODES = 200  # heard by the GPT's conditioners
LATENTS_BATCH = 16
AVERAGE_DECAY = 0.998
EVALUATE_EVERY = 300


def load_speaker_encoder(work: Path) -> SpeakerEncoder:
    encoder = SpeakerEncoder(dims.SPEAKER_ENCODER)
    encoder.load_state_dict(stage_weights(work, "speaker_encoder")["encoder"])
    return encoder.eval().requires_grad_(False)


def add_styles(work: Path, corpora: Sequence[Corpus]) -> None:
    """Kind `style` (1, 192) of every recording, where it is missing or an earlier speaker encoder's."""
    encoder = load_speaker_encoder(work)
    for corpus in corpora:
        if corpus.has("style", since=stage_file(work, "speaker_encoder")):
            continue
        styles = []
        for i in range(len(corpus)):
            fbank = corpus.get("fbank", i)
            with torch.no_grad():
                styles.append(encoder((fbank - fbank.mean(0, keepdim=True))[None]).numpy())
        corpus.put("style", styles)


@dataclass
class Batch:
    mel: Tensor  # (B, M, Tt) to make
    semantic: Tensor  # (B, n, C) of the codes under it
    prompt: Tensor  # (B, M, Tp)
    prompt_semantic: Tensor  # (B, m, C)
    style: Tensor  # (B, 192)
    phones: Tensor  # (B, Tt) spoken in each frame to make


@torch.no_grad()
def add_latents(work: Path, corpora: Sequence[Corpus]) -> None:
    """Kind `latent` (T50, C) fp16: the GPT's latents of every recording's codes, the voice heard in another one. Where
    it is missing or an earlier GPT's."""
    state = stage_weights(work, "gpt")
    config = dims.model_config(N_TOKENS, None, (1,) * 8)
    gpt, conditioning = GPT(config.gpt).eval(), Conditioning(config.conditioning).eval()
    gpt.load_state_dict(state["average_gpt"])
    conditioning.load_state_dict(state["average_conditioning"])
    generator = np.random.default_rng(0)
    for corpus in corpora:  # one that counts twice is given twice
        if corpus.has("latent", since=stage_file(work, "gpt")):
            continue
        order = sorted(range(len(corpus)), key=lambda i: corpus.length("codes", i))
        by_voice: dict[str, list[int]] = defaultdict(list)
        for i in corpus.training():
            by_voice[corpus.items[i]["voice"]].append(i)
        found = [np.empty(0)] * len(corpus)
        for first in track(range(0, len(order), LATENTS_BATCH), description="latents", transient=True):
            part = order[first : first + LATENTS_BATCH]
            references = [int(generator.choice(by_voice[corpus.items[i]["voice"]])) for i in part]
            for i, hidden in zip(part, _latents(gpt, conditioning, corpus, part, references), strict=True):
                found[i] = hidden.half().numpy()
        corpus.put("latent", found)


def _latents(
    gpt: GPT, conditioning: Conditioning, corpus: Corpus, chosen: Sequence[int], references: Sequence[int]
) -> list[Tensor]:
    """(T, C) for each; the latent of a code is what predicts it."""
    ends = torch.tensor([0]), torch.tensor([1])
    text, text_lengths = pad([torch.cat([ends[0], corpus.get("text", i).long(), ends[1]]) for i in chosen])
    codes, code_lengths = pad([corpus.get("codes", i).long() for i in chosen])
    features = pad([corpus.get("feat", r)[:REFERENCE_CODES] for r in references])
    rows = torch.arange(len(chosen))
    nothing = codes.float(), codes  # alignment and phones matter to training only
    batch = GPTBatch(text, text_lengths, codes, code_lengths, *nothing, *features, *features, rows, rows)
    embeddings, where = sequence(gpt, conditioning, batch, codes, False)
    with autocast("cpu"):
        hidden = gpt(embeddings).float()
    hidden = hidden.gather(1, where[..., None].expand(-1, -1, hidden.shape[-1]))
    return [h[: int(n)] for h, n in zip(hidden, code_lengths, strict=True)]


class Pairs:
    """Recordings in order of length, and others of the same voice."""

    def __init__(self, corpora: Sequence[Corpus], codec: SemanticCodec, held_out: bool) -> None:
        self.codec = codec
        self.entries = [(c, i) for c in corpora for i in (c.held_out() if held_out else c.training())]
        self.entries.sort(key=lambda e: e[0].length("mel", e[1]))
        self.lengths = np.array([c.length("mel", i) for c, i in self.entries])
        self.by_voice: dict[tuple[Path, str, bool], list[int]] = defaultdict(list)
        for corpus in corpora:
            for i in corpus.training():
                self.by_voice[self._voice(corpus, i)].append(i)

    @staticmethod
    def _voice(corpus: Corpus, i: int) -> tuple[Path, str, bool]:
        item = corpus.items[i]
        return corpus.folder, item["voice"], float(item.get("factor", 1.0)) > 1

    def _reference(self, corpus: Corpus, i: int, generator: np.random.Generator) -> int:
        """Another recording that sounds like the same person; of resampled ones, by about the same factor."""
        others = self.by_voice[self._voice(corpus, i)]
        factor = float(corpus.items[i].get("factor", 1.0))
        drawn = [others[k] for k in generator.integers(0, len(others), 12)]
        usable = [k for k in drawn if k != i] or drawn
        nearest: int = min(usable, key=lambda k: abs(float(corpus.items[k].get("factor", 1.0)) - factor))
        return nearest

    def batch(self, generator: np.random.Generator, model: LatentS2Mel, latents: bool) -> Batch:
        n_prompt, n_target, size = SHAPES[generator.choice(len(SHAPES), p=SHAPE_SHARES)]
        n_target = min(n_target, int(self.lengths[-1]) - 2)
        m_prompt, n_codes = int(n_prompt / dims.FRAMES_PER_CODE), int(n_target / dims.FRAMES_PER_CODE) + 1
        chosen = self._chosen(n_target + 2, size, generator)
        mels, semantics, prompts, prompt_semantics, styles, phones = [], [], [], [], [], []
        code_of = (torch.arange(n_target) / dims.FRAMES_PER_CODE).long()
        for corpus, i in chosen:
            reference = self._reference(corpus, i, generator)
            codes = corpus.get("codes", i).long()
            cut = int(generator.integers(0, max(1, len(codes) - n_codes + 1)))
            frame = min(round(cut * dims.FRAMES_PER_CODE), corpus.length("mel", i) - n_target)
            semantic = self.codec.lookup(_part(codes, cut, n_codes)[None])[0]
            if latents:
                semantic = semantic + model.project_latents(_part(corpus.get("latent", i), cut, n_codes))
            mels.append(corpus.get("mel", i)[frame : frame + n_target].T)
            semantics.append(semantic)
            prompt, prompt_codes = self._prompt(corpus, reference, n_prompt, m_prompt, generator)
            prompts.append(prompt)
            prompt_semantics.append(self.codec.lookup(prompt_codes[None])[0])
            styles.append(corpus.get("style", reference)[0])
            phones.append(_part(corpus.get("phone", i).long(), cut, n_codes)[code_of])
        stacked = [torch.stack(x) for x in (mels, semantics, prompts, prompt_semantics, styles, phones)]
        return Batch(*stacked)

    def _chosen(self, n_frames: int, size: int, generator: np.random.Generator) -> list[tuple[Corpus, int]]:
        """Recordings of at least n_frames, which the longest one has."""
        first = int(np.searchsorted(self.lengths, n_frames))
        return [self.entries[k] for k in generator.integers(first, len(self.lengths), size)]

    def _prompt(
        self, corpus: Corpus, i: int, n_frames: int, n_codes: int, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """mel (M, n_frames) and codes (n_codes,) of a recording, repeated when it is too short."""
        mel, codes = corpus.get("mel", i), corpus.get("heard", i).long()
        if len(mel) < n_frames + 2 or len(codes) < n_codes + 2:
            times = max(-(-(n_frames + 2) // len(mel)), -(-(n_codes + 2) // len(codes)))
            mel, codes = mel.repeat(times, 1), codes.repeat(times)
            return mel[:n_frames].T, codes[:n_codes]
        cut = int(generator.integers(0, len(codes) - n_codes))
        frame = max(0, min(round(cut * dims.FRAMES_PER_CODE), len(mel) - n_frames))
        return mel[frame : frame + n_frames].T, codes[cut : cut + n_codes]


def _part(x: Tensor, start: int, length: int) -> Tensor:
    """`length` rows from `init_from_pack`; the last one again where there are fewer."""
    return x[torch.arange(start, start + length).clamp_max(len(x) - 1)]


def flow_times(n: int) -> Tensor:
    """(n,) half of them near 0."""
    return torch.rand(n) * torch.where(torch.rand(n) < EARLY_SHARE, EARLY_UNTIL, 1.0)


class Aims(nn.Module):
    """What the condition must tell beside the flow, to linear layers that are not kept."""

    def __init__(self, content_dim: int, phones: int, mean_mel: Tensor) -> None:
        super().__init__()
        self.phone = nn.Linear(content_dim, phones)
        self.mel = nn.Linear(content_dim + dims.STYLE, dims.N_MELS)
        self.mel.bias.data.copy_(mean_mel)

    def forward(self, condition: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """condition (B, T, C) -> cross-entropy of the phones, mean absolute error of the mel."""
        styles = batch.style[:, None].expand(-1, condition.shape[1], -1)
        prior = self.mel(torch.cat([condition, styles], -1)).transpose(1, 2)
        phones = F.cross_entropy(self.phone(condition).flatten(0, 1), batch.phones.flatten())
        return phones, F.l1_loss(prior, batch.mel)


def flow_losses(
    model: LatentS2Mel, batch: Batch, t: Tensor, noise: Tensor, dropped: Tensor, aims: Aims
) -> dict[str, Tensor]:
    """By name in `WEIGHTS`: mean absolute and square error of the velocity over the target; then what `aims` gives.

    t, dropped (B,), bool for items without prompt, style and condition; noise (B, M, Tt).
    """
    n_prompt, n_target = batch.prompt.shape[-1], batch.mel.shape[-1]
    with autocast("cpu"):
        condition = torch.cat(
            [
                model.length_regulator(batch.prompt_semantic, n_prompt),
                model.length_regulator(batch.semantic, n_target),
            ],
            1,
        ).float()
        keep = (~dropped).float()[:, None, None]
        at = t[:, None, None]
        x = F.pad((1 - at) * noise + at * batch.mel, (n_prompt, 0))
        prompt = F.pad(batch.prompt, (0, n_target)) * keep
        velocity = model.estimator(x, prompt, t, batch.style * keep[:, 0], condition * keep)
    error = velocity.float()[..., n_prompt:] - (batch.mel - noise)
    tells, prior = aims(condition[:, n_prompt:], batch)
    return {"flow": error.square().mean() * 0.5 + error.abs().mean(), "tells": tells, "prior": prior}


def train(work: Path, corpora: Sequence[Corpus], minutes: float, *, stage: str = "s2mel") -> None:
    """One of `STAGES`; the second one from where the first has ended."""
    torch.manual_seed(0)
    generator = np.random.default_rng()
    config = dims.model_config(N_TOKENS, None, (1,) * 8)
    codec = load_codec(work)
    model = LatentS2Mel(config.s2mel)
    latents = stage != "s2mel"
    if latents:
        model.load_state_dict(stage_weights(work, "s2mel")["average"])
    nn.init.zeros_(model.gpt_layer[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(model.gpt_layer[-1].bias)  # type: ignore[arg-type]
    average = copy.deepcopy(model)
    mean_mel = torch.cat([corpora[0].get("mel", i) for i in corpora[0].training()[:100]]).mean(0)
    aims = Aims(config.s2mel.dit.content_dim, n_phones(work), mean_mel)
    optimizers = optimizers_of(model, aims, LR_SCALES[stage])
    run = Run(work, stage, minutes, {"s2mel": model, "average": average, "aims": aims}, optimizers)
    pairs, held = Pairs(corpora, codec, False), Pairs(corpora[:1], codec, True)

    def evaluate() -> dict[str, float]:
        same = np.random.default_rng(0)
        fixed = torch.Generator().manual_seed(0)
        found: dict[str, list[float]] = defaultdict(list)
        for k in range(8):
            with torch.no_grad():
                batch = held.batch(same, average, latents)
                t = torch.full((len(batch.mel),), (k + 0.5) / 8)
                noise = NOISE_SCALE * torch.randn(batch.mel.shape, generator=fixed)
                none = torch.zeros(len(t), dtype=torch.bool)
                for name, loss in flow_losses(average, batch, t, noise, none, aims).items():
                    found[name].append(float(loss))
        return {name: round(float(np.mean(values)), 4) for name, values in found.items()}

    for step in run:
        batch = pairs.batch(generator, model, latents)
        t = flow_times(len(batch.mel))
        dropped = torch.rand(len(t)) < DROPPED_SHARE
        noise = NOISE_SCALE * torch.randn(batch.mel.shape)
        parts = flow_losses(model, batch, t, noise, dropped, aims)
        loss = sum((WEIGHTS[name] * part for name, part in parts.items()), torch.zeros(()))
        for optimizer in optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers.values():
            optimizer.step()
        average_into(average, model, min(AVERAGE_DECAY, (step + 1) / (step + 20)))
        run.log(**{name: part.detach() for name, part in parts.items()}, gradient=norm)
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            run.write_log({"eval": evaluate()})
    run.write_log({"eval": evaluate()})


def optimizers_of(model: LatentS2Mel, aims: Aims, scale: float) -> dict[str, torch.optim.Optimizer]:
    matrices = [p for p in model.estimator.transformer.layers.parameters() if p.ndim == 2]
    known = {id(p) for p in matrices}
    rest = nn.ParameterList([p for p in model.parameters() if id(p) not in known])
    return {
        "muon": torch.optim.Muon(
            matrices, lr=scale * PEAK_LR_MATRICES, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ),
        "adamw": adamw([rest, aims], scale * PEAK_LR_OTHERS, betas=(0.9, 0.95)),
    }


def final_weights(work: Path) -> dict[str, Tensor]:
    """LatentS2Mel of the last stage that was trained."""
    done = [stage for stage in STAGES if (work / stage / "last.pt").exists()]
    return stage_weights(work, done[-1] if done else STAGES[0])["average"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, action="append", required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stage", choices=STAGES, default=STAGES[0])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    corpora = [Corpus(c) for c in args.corpus]
    add_styles(args.work, corpora)
    if args.stage != STAGES[0]:
        add_latents(args.work, corpora)
    with fast_attention():
        train(args.work, corpora, args.minutes, stage=args.stage)


if __name__ == "__main__":
    main()
