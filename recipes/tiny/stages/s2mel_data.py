"""Batches of the stage `s2mel`, and the arrays they need: styles, and the latents of a trained GPT.

In: corpora with `codes`, `heard`, `mel`, `fbank` and `phone` arrays; trained networks. Out: arrays `style` and
`latent`, and `Batch`es. An item is an excerpt of a recording. Its prompt is an excerpt of another
recording of the same voice, and that recording also gives the style. The prompt has the codec's own codes (`heard`), as
at synthesis. All items of a batch have the same length, because the length regulator's group norm must not see padding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from edgetts.models.campplus import SpeakerEncoder
from edgetts.models.conditioning import Conditioning
from edgetts.models.gpt import GPT
from edgetts.models.repcodec import SemanticCodec
from edgetts.models.s2mel import LatentS2Mel
from recipes.tiny import dims
from recipes.tiny.common import autocast, stage_file, stage_weights
from recipes.tiny.corpus.data import Corpus, pad
from recipes.tiny.corpus.text import N_TOKENS
from recipes.tiny.stages.gpt_data import Batch as GPTBatch
from recipes.tiny.stages.train_gpt import sequence

Shape = tuple[int, int, int]  # of a batch: mel frames of prompt and target, and items
Shapes = tuple[tuple[Shape, float], ...]  # each with its share of the batches
# Some prompts are long: users give long recordings, and in a stream earlier speech follows the prompt.
SHAPES: Shapes = (
    ((96, 176, 12), 0.4),
    ((258, 192, 7), 0.25),
    ((258, 384, 5), 0.12),
    ((48, 480, 6), 0.15),
    ((320, 96, 8), 0.08),
)
REFERENCE_CODES = 200  # frames of the recording for the GPT's conditioners
LATENTS_BATCH = 16


def load_speaker_encoder(work: Path) -> SpeakerEncoder:
    """The trained speaker encoder, frozen."""
    encoder = SpeakerEncoder(dims.SPEAKER_ENCODER)
    encoder.load_state_dict(stage_weights(work, "speaker_encoder")["encoder"])
    return encoder.eval().requires_grad_(False)


def add_styles(work: Path, corpora: Sequence[Corpus]) -> None:
    """Add the array `style` (1, 192) of each recording, unless it is newer than the speaker encoder."""
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


@torch.no_grad()
def add_latents(work: Path, corpora: Sequence[Corpus]) -> None:
    """Add the array `latent` (T50, C) fp16: the GPT's latents of each recording's codes.

    The GPT is conditioned on a random training recording of the same voice. A corpus whose latents are newer than the
    GPT is skipped.
    """
    state = stage_weights(work, "gpt")
    config = dims.model_config(N_TOKENS, None, (1,) * 8)
    gpt, conditioning = GPT(config.gpt).eval(), Conditioning(config.conditioning).eval()
    gpt.load_state_dict(state["average_gpt"])
    conditioning.load_state_dict(state["average_conditioning"])
    generator = np.random.default_rng(0)
    for corpus in corpora:  # a corpus may be given twice
        if corpus.has("latent", since=stage_file(work, "gpt")):
            continue
        order = sorted(range(len(corpus)), key=lambda i: corpus.length("codes", i))
        by_voice = training_by_voice(corpus)
        found = [np.empty(0)] * len(corpus)
        for first in track(range(0, len(order), LATENTS_BATCH), description="latents", transient=True):
            part = order[first : first + LATENTS_BATCH]
            references = [int(generator.choice(by_voice[corpus.items[i]["voice"]])) for i in part]
            for i, hidden in zip(part, latents_of(gpt, conditioning, corpus, part, references), strict=True):
                found[i] = hidden.half().numpy()
        corpus.put("latent", found)


def training_by_voice(corpus: Corpus) -> dict[str, list[int]]:
    """The training recordings of each voice."""
    by_voice: dict[str, list[int]] = defaultdict(list)
    for i in corpus.training():
        by_voice[corpus.items[i]["voice"]].append(i)
    return by_voice


def latents_of(
    gpt: GPT, conditioning: Conditioning, corpus: Corpus, chosen: Sequence[int], references: Sequence[int]
) -> list[Tensor]:
    """Latents (T, C) of each chosen recording. The latent of a code is the hidden state that predicts it."""
    ends = torch.tensor([0]), torch.tensor([1])
    text, text_lengths = pad([torch.cat([ends[0], corpus.get("text", i).long(), ends[1]]) for i in chosen])
    codes, code_lengths = pad([corpus.get("codes", i).long() for i in chosen])
    features = pad([corpus.get("feat", r)[:REFERENCE_CODES] for r in references])
    rows = torch.arange(len(chosen))
    nothing = codes.float(), codes  # alignment and phones are for training only
    batch = GPTBatch(text, text_lengths, codes, code_lengths, *nothing, *features, *features, rows, rows)
    embeddings, where = sequence(gpt, conditioning, batch, codes, False)
    with autocast("cpu"):
        hidden = gpt(embeddings).float()
    hidden = hidden.gather(1, where[..., None].expand(-1, -1, hidden.shape[-1]))
    return [h[: int(n)] for h, n in zip(hidden, code_lengths, strict=True)]


@dataclass
class Batch:
    """Excerpts of equal length, with prompts and styles."""

    mel: Tensor  # (B, M, Tt) target
    semantic: Tensor  # (B, n, C) features of its codes
    prompt: Tensor  # (B, M, Tp)
    prompt_semantic: Tensor  # (B, m, C)
    style: Tensor  # (B, 192)
    phones: Tensor  # (B, Tt) phone of each target frame


def drawn_shape(shapes: Shapes, generator: np.random.Generator) -> Shape:
    """One of the shapes, by their shares."""
    return shapes[generator.choice(len(shapes), p=[share for _, share in shapes])][0]


class Pairs:
    """Recordings sorted by length, each with others of the same voice; draws batches."""

    def __init__(
        self, corpora: Sequence[Corpus], codec: SemanticCodec, held_out: bool, shapes: Shapes = SHAPES
    ) -> None:
        self.codec = codec
        self.shapes = shapes
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
        """A random other recording of the same voice, with a resampling factor close to that of recording `i`."""
        others = self.by_voice[self._voice(corpus, i)]
        factor = float(corpus.items[i].get("factor", 1.0))
        drawn = [others[k] for k in generator.integers(0, len(others), 12)]
        usable = [k for k in drawn if k != i] or drawn
        nearest: int = min(usable, key=lambda k: abs(float(corpus.items[k].get("factor", 1.0)) - factor))
        return nearest

    def batch(self, generator: np.random.Generator, model: LatentS2Mel, latents: bool) -> Batch:
        """A random batch in one of the shapes. latents: add the GPT's latents, projected by `model`."""
        n_prompt, n_target, size = drawn_shape(self.shapes, generator)
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
        """`size` random recordings of at least `n_frames`. The longest recording must have that many."""
        first = int(np.searchsorted(self.lengths, n_frames))
        return [self.entries[k] for k in generator.integers(first, len(self.lengths), size)]

    def _prompt(
        self, corpus: Corpus, i: int, n_frames: int, n_codes: int, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """A random excerpt: mel (M, n_frames) and codes (n_codes,). A recording that is too short is repeated."""
        mel, codes = corpus.get("mel", i), corpus.get("heard", i).long()
        if len(mel) < n_frames + 2 or len(codes) < n_codes + 2:
            times = max(-(-(n_frames + 2) // len(mel)), -(-(n_codes + 2) // len(codes)))
            mel, codes = mel.repeat(times, 1), codes.repeat(times)
            return mel[:n_frames].T, codes[:n_codes]
        cut = int(generator.integers(0, len(codes) - n_codes))
        frame = max(0, min(round(cut * dims.FRAMES_PER_CODE), len(mel) - n_frames))
        return mel[frame : frame + n_frames].T, codes[cut : cut + n_codes]


def _part(x: Tensor, start: int, length: int) -> Tensor:
    """`length` rows from `start` on; the last row is repeated if there are fewer."""
    return x[torch.arange(start, start + length).clamp_max(len(x) - 1)]
