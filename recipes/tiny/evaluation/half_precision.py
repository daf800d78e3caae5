"""Measures the errors of DiT and vocoder in fp16 and bf16 against fp32, with the flow's state in fp32.

In: a pack in float32. Out: a table of mean log-mel differences and spectral convergence, for equal codes, latents and
noise. Weights and activations are in half precision; the inputs and outputs of each network are cast.

    python -m recipes.tiny.evaluation.half_precision --pack PACK [--voice RECORDING] [--steps 10]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from edgetts.backends.prepare import lower
from edgetts.decoding.flow import solve_flow
from edgetts.decoding.settings import FlowSettings
from edgetts.models import registry
from edgetts.pack.load import open_pack
from edgetts.pack.text import text_config_of
from edgetts.pipeline import Pipeline
from edgetts.quant import texts
from edgetts.quant.calibrate import CPU, find_voice, make_samples
from edgetts.voices.enroll import mel_spectrogram
from edgetts.voices.speaker import make_speaker

_SEED = 5
_MAX_CODES = 150
_N_TEXTS = 3
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@torch.inference_mode()
def compare(pack_path: Path, voice: Path | None, n_steps: int) -> None:
    """Print the table. voice: a recording, or None for the first ready voice."""
    pack = open_pack(pack_path)
    pipeline = Pipeline(pack, CPU, compute="exact")
    speaker = make_speaker(pipeline.networks, find_voice(pack, voice))
    spoken = texts.choose(texts.HELD_OUT, text_config_of(pack).languages, _N_TEXTS)
    samples = make_samples(pipeline, speaker, spoken, max_codes=_MAX_CODES, seed=_SEED)
    settings = FlowSettings(n_steps=n_steps, solver="euler", cfg_rate=0.7)
    prompt = speaker.reference_mel.shape[-1]
    print("| | log-mel of S2Mel | log-mel of the vocoder | STFT magnitude of both |\n|---|---|---|---|")
    rows: dict[str, list[list[float]]] = {name: [] for name in _DTYPES}
    for sample in samples:
        condition = pipeline.condition(pipeline.features(pipeline.prompt(speaker, sample.text_ids), sample.codes))
        condition = torch.cat([speaker.prompt_condition, condition], dim=1)
        shape = (1, pipeline.config.audio.n_mels, condition.shape[1])
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(_SEED))

        def flow(
            estimator: torch.nn.Module, dtype: torch.dtype, noise: Tensor = noise, c: Tensor = condition
        ) -> Tensor:
            def estimate(*inputs: Tensor) -> Tensor:
                out: Tensor = estimator(*(x.to(dtype) for x in inputs))
                return out.float()

            mel = solve_flow(estimate, noise, speaker.reference_mel, c, speaker.style, settings)
            return mel[:, :, prompt:]

        mel = flow(pipeline.s2mel.cfm.estimator, torch.float32)
        waveform = pipeline.vocoder(mel)
        for name, dtype in _DTYPES.items():
            s2mel = registry.S2MEL.load(pack, dtype=dtype)
            vocoder = lower(registry.VOCODER.load(pack), dtype)
            half_mel = flow(s2mel.cfm.estimator, dtype)
            by_vocoder = vocoder(mel)
            both = vocoder(half_mel)
            rows[name].append(
                [
                    float((half_mel - mel).abs().mean()),
                    float((mel_spectrogram(pack, by_vocoder[0]) - mel_spectrogram(pack, waveform[0])).abs().mean()),
                    spectral_convergence(both[0], waveform[0]),
                ]
            )
    for name, values in rows.items():
        means = torch.tensor(values).mean(0).tolist()
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in means) + " |")


def spectral_convergence(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference of STFT magnitudes, divided by the norm of the expected magnitudes."""
    window = torch.hann_window(1024)
    a, b = (torch.stft(x, 1024, 256, window=window, return_complex=True).abs() for x in (found, expected))
    return float((a - b).norm() / b.norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True, help="a pack in float32")
    parser.add_argument("--voice", type=Path, help="a recording; default: the pack's first ready voice")
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    compare(args.pack, args.voice, args.steps)


if __name__ == "__main__":
    main()
