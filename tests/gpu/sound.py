"""More of what the check looks at: sound by length and form, parity of what speaks, memory beside its estimate.

As in `sections`: each function takes the `Check` and gives what it found; failures are noted on the way.
"""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from gpu.random_pack import RandomPack, published_config
from gpu.sections import per_run, published
from torch import Tensor

from edgetts.backends import networks
from edgetts.backends.conv_forms import forms_used
from edgetts.backends.fast_vocoder import FastVocoder
from edgetts.backends.kernels import AUTO, W8A8
from edgetts.backends.kernels.base import relative_error
from edgetts.backends.numbers import dtype_name
from edgetts.backends.prepare import prepare_vocoder
from edgetts.backends.runners import sound_runner
from edgetts.backends.step_watch import WatchedUnits
from edgetts.bench.footprint import expected, measured_peak, usual_size
from edgetts.bench.machine import synchronize
from edgetts.decoding.settings import FlowSettings
from edgetts.memory import Place, device_memory
from edgetts.models import registry
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.parity import compare_paths
from edgetts.pipeline import Pipeline, Speaker

if TYPE_CHECKING:
    from gpu.check import Check

MIB = 2**20
VOCODER_FRAMES = (64, 320, 700)  # a first window, a whole one with what is around it, 8 s that are not replayed
MOST_ERROR = 0.1  # of a mel against exact, with drawn weights; what is wrong is wrong by more
# name, compute mode, what else `Pipeline` is given
FORMS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("exact", "exact", {}),
    ("fast, as it is", "fast", {"runner": "eager"}),
    ("fast, captured", "fast", {}),
    ("fast, captured, int8", "fast", {"kernel": W8A8}),
)


def acoustic(check: Check) -> dict[str, Any]:
    """S2Mel and vocoder by length in every form: errors against exact; the first time, and when all is warm."""
    rows: list[dict[str, Any]] = []
    exact: dict[int, Tensor] = {}
    lengths = (64,) if check.dry_run else (64, 250, 700)
    settings = FlowSettings(n_steps=2 if check.dry_run else 25, solver="euler", cfg_rate=0.7)
    for name, compute, how in FORMS:
        if W8A8 in how.values() and (check.dry_run or importlib.util.find_spec("torchao") is None):
            rows.append({"form": name, "left out": "torchao is not installed, or this is a dry run"})
            continue
        watched = WatchedUnits() if check.dry_run and name == "fast, captured" else None
        with contextlib.ExitStack() as stack:
            if check.dry_run:
                stack.enter_context(mock.patch.object(networks, "sound_runner", lambda *_, w=watched: w))
            pipeline, speaker = published(check, compute, **how)
        for n_frames in lengths:
            row = _at_length(check, pipeline, speaker, n_frames, settings, exact)
            rows.append({"form": name, **row})
            what = f"{name}, {n_frames} frames"
            check.expect(row["mel_error"] < MOST_ERROR, f"{what}: the mel is off by {row['mel_error']:.1e}")
            check.expect(row["is_finite"], f"{what}: samples are no numbers")
        check.expect(not pipeline.notices, f"{name}: {'; '.join(pipeline.notices)}")
        if watched is not None:
            check.expect(watched.n_runs > 0, "nothing was replayed")
        del pipeline
        if check.left_s < 60 and not check.dry_run:
            break
    return {"rows": rows}


def _at_length(
    check: Check,
    pipeline: Pipeline,
    speaker: Speaker,
    n_frames: int,
    settings: FlowSettings,
    exact: dict[int, Tensor],
) -> dict[str, Any]:
    with torch.inference_mode():
        noise = pipeline.noise(n_frames, torch.Generator().manual_seed(1))
        width = speaker.prompt_condition.shape[-1]
        condition = torch.randn(1, n_frames, width, generator=torch.Generator().manual_seed(2)).to(check.device)
        started = time.perf_counter()
        pipeline.waveform(pipeline.mel(speaker, condition, noise, settings))
        synchronize(check.device)
        cold_s = time.perf_counter() - started
        pipeline.networks.wait_for_compilers()
        for _ in range(2):  # compiled forms are taken, then captured
            mel = pipeline.mel(speaker, condition, noise, settings)
            wave = pipeline.waveform(mel)
        mel_s = per_run(lambda: pipeline.mel(speaker, condition, noise, settings), check)
        wave_s = per_run(lambda: pipeline.waveform(mel), check)
    reference = exact.setdefault(n_frames, mel)
    return {
        "frames": n_frames,
        "evals": settings.n_evals,
        "first_ms": 1e3 * cold_s,
        "mel_ms": 1e3 * mel_s,
        "ms_per_eval": 1e3 * mel_s / settings.n_evals,
        "vocoder_ms": 1e3 * wave_s,
        "mel_error": relative_error(mel, reference),
        "is_finite": bool(torch.isfinite(wave).all()),
    }


def vocoder(check: Check) -> dict[str, Any]:
    """BigVGAN alone by compute mode and length: milliseconds, and the forms of its convolutions."""
    pack = RandomPack(published_config("mini" if check.dry_run else "full"))
    times: dict[str, dict[int, float]] = {}
    found: dict[str, Any] = {}
    for compute in ("exact", "fast"):
        plain = registry.VOCODER.load(pack, check.device)  # type: ignore[arg-type]
        started = time.perf_counter()
        network, done = prepare_vocoder(plain, compute, check.device, sound_runner(check.device, compute, "auto"))  # type: ignore[arg-type]
        assert isinstance(network, FastVocoder)
        found[compute] = {"dtype": dtype_name(done.dtype), "forms": forms_used(network)}
        found[compute] |= {"prepared_in_s": time.perf_counter() - started, "choice_s": network.choice_s}
        times[compute] = {}
        for n_frames in VOCODER_FRAMES[:1] if check.dry_run else VOCODER_FRAMES:
            generator = torch.Generator().manual_seed(n_frames)
            mel = torch.randn(1, pack.config.vocoder.n_mels, n_frames, generator=generator).to(check.device)
            with torch.inference_mode():
                for _ in range(3):  # compiled, then captured
                    wave = network(mel)
                times[compute][n_frames] = 1e3 * per_run(lambda n=network, m=mel: n(m), check, n=7)  # type: ignore[misc]
            check.expect(
                bool(torch.isfinite(wave).all()), f"vocoder {compute}, {n_frames} frames: samples are no numbers"
            )
        found[compute]["ms_by_frames"] = times[compute]
        del plain, network
    if not check.dry_run:  # the CPU of a dry run may have no half precision
        expect_fast_is_faster(check, times)
    return found


def expect_fast_is_faster(check: Check, ms: Mapping[str, Mapping[int, float]]) -> None:
    """ms: by compute mode and frames."""
    for n_frames, exact in ms["exact"].items():
        fast = ms["fast"][n_frames]
        what = f"the vocoder takes {fast:.2f} ms for {n_frames} frames in fast and {exact:.2f} in exact"
        check.expect(fast <= exact, what)


def parity(check: Check) -> dict[str, Any]:
    """`edgetts validate` of the built-in model: what speaks in each way to compute, against plain fp32."""
    rows = []
    for compute in ("fast",) if check.dry_run else ("exact", "fast"):
        runner = "eager" if check.dry_run else "auto"
        found = compare_paths(
            open_pack(builtin_pack()), device=check.device, compute=compute, runner=runner  # type: ignore[arg-type]
        )  # fmt: skip
        for row in found:
            what = f"validate {compute}: {row.stage} {row.tensor}"
            check.expect(row.passed, f"{what} is off by {row.error:.2g}, allowed {row.tolerance:.2g}")
            rows.append({"compute": compute, "stage": row.stage, "tensor": row.tensor, "error": row.error,
                         "tolerance": row.tolerance, "detail": row.detail})  # fmt: skip
    return {"rows": rows}


def memory(check: Check) -> dict[str, Any]:
    """What a call of the built-in model was expected to take, and what it took."""
    pack, compute = open_pack(builtin_pack()), "fast"
    place = Place.of(check.device, compute, AUTO)  # type: ignore[arg-type]
    bound = expected(pack, compute, place, usual_size(pack))  # type: ignore[arg-type]
    peak = measured_peak(pack, check.device, compute, AUTO)  # type: ignore[arg-type]
    taken = peak.host if peak.cuda is None else peak.cuda
    check.expect(taken <= bound.peak, f"a call took {taken / MIB:.0f} MiB, expected were {bound.peak / MIB:.0f}")
    there = device_memory(check.device)
    return {
        "expected_mib": bound.peak / MIB,
        "measured_mib": taken / MIB,
        "unified": place.unified,
        "free_mib": None if there is None else there.free / MIB,
    }
