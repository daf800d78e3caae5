"""The quality of a quantized pack, measured against its source pack.

In: both packs, and texts that calibration did not use. Out: a table for the manifest's `quality`, and an HTML page in
the pack (`report_page`). Measured: signal-to-quantization-noise ratio of each tensor; KL divergence of the GPT's
predictions on codes of the original; mel and spectral distance of the audio for the original's codes and the same
noise, so that only the weights differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgetts.backends.linear import kernels_used
from edgetts.backends.numbers import numbers_of
from edgetts.families import family_of
from edgetts.models.gpt import GPT
from edgetts.options import SynthesisOptions
from edgetts.pack.load import Pack, open_pack
from edgetts.pack.page_release import give_back
from edgetts.pack.text import text_config_of
from edgetts.pipeline import Pipeline
from edgetts.progress import CountedProgress
from edgetts.quant.calibrate import CPU, Sample, Speech, decoding_embeddings, find_voice, make_samples
from edgetts.quant.recipe import Recipe
from edgetts.quant.report_page import page
from edgetts.quant.source import REPORT_FILE
from edgetts.quant.writer import PackWriter
from edgetts.voices.enroll import mel_spectrogram
from edgetts.voices.speaker import Speaker, make_speaker

N_TEXTS = 6
MAX_CODES = 120  # per text: 2.4 s of published speech
N_SPOKEN = 2  # samples that are synthesized
# Pack folder -> further figures by name (such as word error rate, speaker similarity).
Judge = Callable[[Path], Mapping[str, float]]

_SEED = 11
_MB = 1_000_000
_DIGITS = 5


@torch.inference_mode()
def measure(
    writer: PackWriter,
    original: Pack,
    recipe: Recipe,
    sizes: Mapping[str, int],
    speech: Speech,
    progress: CountedProgress | None = None,
    judge: Judge | None = None,
) -> dict[str, Any]:
    """The quality table of the complete, unpublished pack in `writer`; adds the page to it."""
    made = open_pack(writer.folder, home=original.home)
    pipeline = Pipeline(original, CPU, compute="reference")  # reference: no second form of any weight in memory
    speaker = make_speaker(pipeline.networks, find_voice(original, speech.voice))
    spoken = speech.held_out(text_config_of(original).languages, N_TEXTS)
    samples = make_samples(
        pipeline, speaker, spoken, max_codes=MAX_CODES, seed=_SEED, progress=progress, what="measuring"
    )
    options = SynthesisOptions.of(made.manifest.defaults, {"seed": _SEED})
    expected = [code_scores(pipeline.gpt, speaker, sample) for sample in samples]
    sounds = _sounds(pipeline, speaker, samples[:N_SPOKEN], options)
    del pipeline  # the two packs are never in memory together
    if progress is not None:
        progress("comparing", 0, 1)
    other = Pipeline(made, CPU, compute="exact")
    found = [code_scores(other.gpt, speaker, sample) for sample in samples]
    made_sounds = _sounds(other, speaker, samples[:N_SPOKEN], options)
    quality: dict[str, Any] = {
        "compared_with": original.manifest.recipe,
        "sizes": {c: {"before": original_bytes(original, c), "after": sizes[c]} for c in sizes},
        "run_mb": round(sum(sizes[c] for c in family_of(writer.config).run_components) / _MB, 2),
        "pack_mb": round(sum(sizes.values()) / _MB, 2),
        "snr_db": {c: {n: round(v, 2) for n, v in of.items()} for c, of in writer.snr.items()},
        "kernels": kernels_used(other.gpt),
        "gpt": compare_scores(expected, found),
        "sound": compare_sounds(sounds, made_sounds),
    }
    del other
    quality["compute"] = {"fast": _cost_of_fast(made, speaker, samples, options, found, made_sounds)}
    if judge is not None:
        quality["judged"] = dict(judge(writer.folder))
    writer.add_file(REPORT_FILE, page(made.manifest.name, recipe.name, recipe.description, quality).encode())
    return quality


def _cost_of_fast(
    pack: Pack,
    speaker: Speaker,
    samples: Sequence[Sample],
    options: SynthesisOptions,
    scores: Sequence[Tensor],
    sounds: Sequence[tuple[Tensor, Tensor]],
) -> dict[str, Any]:
    """The differences of the compute mode `fast` from `exact` (given scores and sounds) on this CPU.

    `numbers`: the dtypes; another machine may have others.
    """
    fast = Pipeline(pack, CPU, compute="fast")
    return {
        "numbers": numbers_of(CPU, "fast").names(),
        "gpt": compare_scores(scores, [code_scores(fast.gpt, speaker, sample) for sample in samples]),
        "sound": compare_sounds(sounds, _sounds(fast, speaker, samples[: len(sounds)], options)),
    }


def original_bytes(pack: Pack, component: str) -> int:
    """Bytes of a component in float32."""
    n_values = sum(torch.Size(shape).numel() for shape in pack.shapes(component).values())
    return n_values * torch.float32.itemsize


def code_scores(gpt: GPT, speaker: Speaker, sample: Sample) -> Tensor:
    """Log-probabilities (N + 1, K) for each code of a sample and for the stop, given the codes before."""
    hidden = gpt(decoding_embeddings(gpt, speaker, sample))
    logits = gpt.logits(hidden[:, -(len(sample.codes) + 1) :])[0]
    return logits.float().log_softmax(-1)


def compare_scores(expected: Sequence[Tensor], found: Sequence[Tensor]) -> dict[str, Any]:
    """KL divergence of predictions in nats, and how often the most likely code is equal."""
    divergences = torch.cat([(e.exp() * (e - f)).sum(-1) for e, f in zip(expected, found, strict=True)])
    agree = torch.cat([(e.argmax(-1) == f.argmax(-1)).float() for e, f in zip(expected, found, strict=True)])
    return {
        "kl_mean": _rounded(divergences.mean()),
        "kl_median": _rounded(divergences.median()),
        "kl_p99": _rounded(divergences.quantile(0.99)),
        "top1": _rounded(agree.mean()),
        "n_codes": len(agree),
    }


def compare_sounds(expected: Sequence[tuple[Tensor, Tensor]], found: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Mean distances over samples of (S2Mel's log-mel (1, M, F), log-mel of the waveform (1, M, F))."""
    made = torch.stack([(e[0] - f[0]).abs().mean() for e, f in zip(expected, found, strict=True)])
    heard = torch.stack([(e[1] - f[1]).abs().mean() for e, f in zip(expected, found, strict=True)])
    magnitude = torch.stack(
        [(e[1].exp() - f[1].exp()).norm() / e[1].exp().norm() for e, f in zip(expected, found, strict=True)]
    )
    return {
        "mel_distance": _rounded(made.mean()),  # natural log of magnitude
        "waveform_mel_distance": _rounded(heard.mean()),
        "spectral_convergence": _rounded(magnitude.mean()),  # 0: equal, 1: as far as silence is
        "n_samples": len(expected),
    }


def _sounds(
    pipeline: Pipeline, speaker: Speaker, samples: Sequence[Sample], options: SynthesisOptions
) -> list[tuple[Tensor, Tensor]]:
    """(S2Mel's log-mel (1, M, F), log-mel of the waveform (1, M, F)) of each sample's codes, with the same noise.

    Stage by stage, so that one network's weights are in memory at a time.
    """
    features = [pipeline.features(sample.prompt(pipeline, speaker), sample.codes) for sample in samples]
    give_back(*pipeline.gpt.parameters())
    mels = []
    for of_sample in features:
        condition = pipeline.condition(of_sample)
        noise = pipeline.noise(condition.shape[1], torch.Generator().manual_seed(_SEED))
        mels.append(pipeline.mel(speaker, condition, noise, options.flow_settings()))
    give_back(*pipeline.s2mel.parameters())
    return [(mel, mel_spectrogram(pipeline.pack, pipeline.waveform(mel))) for mel in mels]


def _rounded(value: Tensor) -> float:
    return float(f"{float(value):.{_DIGITS}g}")
