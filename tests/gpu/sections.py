"""What the check looks at. Each function takes the `Check` and gives what it found; failures are noted on the way.

Times on a GPU are of synchronized wall clocks around many steps, or of events. Nothing here needs a file but the
built-in pack. Long because it is one list of measurements that is read from top to bottom beside the page it makes.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from gpu.random_pack import RandomPack, published_config
from helpers.refusals import is_missing
from torch import Tensor

from edgetts.attempt import GuardedCodes
from edgetts.backends.compile_cache import VARIABLES
from edgetts.backends.device_decoder import DeviceDecoders, device_decoders
from edgetts.backends.kernels.base import dequantize, relative_error
from edgetts.backends.kernels.registry import KERNELS, KernelChoice, kernel_names, seconds_each, try_kernel
from edgetts.backends.linear import QuantizedLinear, kernels_used
from edgetts.backends.step_watch import WatchedRunner
from edgetts.bench.machine import describe_machine, measure_rates, peak_rss_mb, reset_peak_memory, synchronize
from edgetts.bench.stages import voice_of_length
from edgetts.decoding.bursts import BURST
from edgetts.decoding.decode import generate_codes
from edgetts.decoding.guards import Expected
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.settings import DecodeSettings, FlowSettings
from edgetts.options import PRESETS, SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pack.schemes import SCHEMES
from edgetts.pipeline import Pipeline, Speaker
from edgetts.streaming.engine import Engine
from edgetts.streaming.latency import LatencyModel
from edgetts.streaming.schedule import SEEDED_S, FixedSeconds
from edgetts.streaming.session import Session
from edgetts.streaming.state import QueuedSegment, StreamState
from edgetts.streaming.stream import SpeechStream
from edgetts.voices.speaker import make_speaker
from edgetts.voices.voice import Voice

if TYPE_CHECKING:
    from gpu.check import Check

GREEDY = DecodeSettings(do_sample=False, n_beams=1, max_codes=200, repetition_penalty=1.0)
ROWS = (1, 3, 16, 64, 300)
TEXT_TOKENS = 60
# Largest relative errors of the built-in model against fp32 on the CPU. `fast` rounds activations to bfloat16 or 8 bits.
LIMITS = {"exact": {"features": 1e-3, "mel": 1e-2}, "fast": {"features": 5e-2, "mel": 1e-1}}
PROMPT_S = 6.0
MIB = 2**20


def machine(check: Check) -> dict[str, Any]:
    """Versions, and what this device can do at all."""
    rates = measure_rates(check.device)
    found: dict[str, Any] = {**describe_machine(check.device), "python": platform.python_version()}
    found |= {"bandwidth_gb_per_s": rates.bytes_per_s / 1e9, "matrix_tflops": rates.flops / 1e12}
    try:
        import triton

        is_interpreted = os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")
        found["triton"] = f"{triton.__version__}{', in its interpreter' if is_interpreted else ''}"
        check.expect(check.dry_run or not is_interpreted, "Triton runs in its interpreter: unset TRITON_INTERPRET")
    except ImportError:
        found["triton"] = "absent"
    if check.device.type == "cuda":
        properties = torch.cuda.get_device_properties(check.device)
        found |= {"capability": f"{properties.major}.{properties.minor}", "memory_mib": properties.total_memory // MIB}
    return found


def decode(check: Check) -> dict[str, Any]:
    """Codes of the captured step against the eager one, 1 and 3 beams; launches, allocations, waits, speed."""
    pipeline, speaker = published(check)
    n_codes = 24 if check.dry_run else 200
    rate = measure_rates(check.device).bytes_per_s
    n_bytes = _bytes_per_code(pipeline)
    rows: list[dict[str, Any]] = []
    with torch.inference_mode():
        prompt = pipeline.prompt(speaker, range(10, 10 + TEXT_TOKENS))
        for n_beams in (1, 3):
            settings = DecodeSettings(do_sample=False, n_beams=n_beams, max_codes=n_codes, repetition_penalty=2.0)
            made: dict[str, list[int]] = {}
            for name, pool in _runners(check, pipeline):
                made[name], seconds = _timed_codes(pipeline, prompt, settings, pool, check)
                row = {"beams": n_beams, "runner": name, "ms_per_code": 1e3 * seconds / max(1, len(made[name]))}
                row["share_of_bandwidth"] = n_bytes / (row["ms_per_code"] / 1e3) / rate
                row["notices"] = "; ".join(pool.notices) if pool is not None else ""
                check.expect(not row["notices"], f"decode with {name}, {n_beams} beams: {row['notices']}")
                rows.append(row)
            first = made["eager"]
            for name, codes in made.items():
                check.expect(codes == first, f"{name} with {n_beams} beams makes other codes than eager")
                check.expect(len(codes) == n_codes, f"{name} with {n_beams} beams made {len(codes)} of {n_codes} codes")
    found = {"weights_read_per_code_mib": n_bytes / MIB, "runs": rows, "kernels": kernels_used(pipeline.gpt)}
    if check.device.type == "cuda":
        found |= _inside_bursts(check, pipeline, prompt)
    return found


def _runners(check: Check, pipeline: Pipeline) -> Iterator[tuple[str, DeviceDecoders | None]]:
    yield "eager", device_decoders(pipeline.gpt, check.device, "eager")
    if check.dry_run:
        yield "watched", DeviceDecoders(pipeline.gpt, WatchedRunner)
        return
    yield "host", None
    yield "graph", device_decoders(pipeline.gpt, check.device, "graph")
    yield "graph+compile", device_decoders(pipeline.gpt, check.device, "graph+compile")


def _timed_codes(
    pipeline: Pipeline, prompt: GPTPrompt, settings: DecodeSettings, pool: DeviceDecoders | None, check: Check
) -> tuple[list[int], float]:
    """Codes, and the seconds of the second run: the first captures and compiles."""
    seconds = 0.0
    for _ in range(2):
        synchronize(check.device)
        started = time.perf_counter()
        codes = generate_codes(pipeline.gpt, prompt, settings, None, stepper=None, decoders=pool).codes
        synchronize(check.device)
        seconds = time.perf_counter() - started
    return codes, seconds


def _inside_bursts(check: Check, pipeline: Pipeline, prompt: GPTPrompt) -> dict[str, Any]:
    """100 codes launched with waiting forbidden; what was allocated meanwhile."""
    pool = device_decoders(pipeline.gpt, check.device, "graph")
    assert pool is not None
    pool.prepare(prompt.embeddings, GREEDY)  # graphs of all buckets
    decoder = pool.take(1)
    decoder.prefill(prompt, GREEDY, None)
    decoder.poll()
    before = torch.cuda.memory_stats(check.device)["allocation.all.allocated"]
    for _ in range(100 // BURST):
        torch.cuda.set_sync_debug_mode("error")
        try:
            decoder.launch(BURST)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        decoder.poll()
    n_allocated = torch.cuda.memory_stats(check.device)["allocation.all.allocated"] - before
    check.expect(n_allocated == 0, f"{n_allocated} allocations in {100 // BURST * BURST} codes")
    pool.give_back(decoder)
    return {"allocations_in_100_codes": n_allocated, "waits_in_100_codes": 0}


def kernels(check: Check) -> dict[str, Any]:
    """Every kernel for the GPT's four matrices and its head, by rows, over as many weights as outgrow the caches."""
    pack = RandomPack(published_config("mini" if check.dry_run else "full"))
    rows: list[dict[str, Any]] = []
    for scheme, group in (("int4_group", 32), ("int8_channel", None)):
        for shape_name, weights in _weights(pack, scheme, group, check).items():
            for kernel in (k for k in KERNELS if k.scheme == scheme and check.device.type in k.devices):
                row: dict[str, Any] = {"kernel": kernel.name, "scheme": scheme, "matrix": shape_name}
                trial = try_kernel(kernel, weights[0], check.device)
                if trial.problem:
                    row["refused"] = trial.problem
                    check.expect(
                        check.dry_run or is_missing(trial.problem), f"{kernel.name} for {scheme}: {trial.problem}"
                    )
                    rows.append(row)
                    continue
                row |= _speeds(kernel, weights, check)
                rows.append(row)
                if check.left_s < 60 and not check.dry_run:
                    return {"rows": rows, "stopped": "little time was left"}
    chosen = KernelChoice(check.device, compute="fast")
    best = {
        f"{s} {n}": chosen(w[0]).name for s, g in (("int4_group", 32),) for n, w in _weights(pack, s, g, check).items()
    }
    return {"known": ", ".join(kernel_names()), "chosen": best, "rows": rows}


def _weights(pack: RandomPack, scheme: str, group: int | None, check: Check) -> dict[str, list[Any]]:
    config = pack.config.gpt
    dim, generator = config.model_dim, torch.Generator(check.device).manual_seed(0)
    maker = RandomPack(pack.config, scheme, group)
    shapes = {"qkv": (3 * dim, dim), "attention out": (dim, dim), "mlp in": (4 * dim, dim), "mlp out": (dim, 4 * dim)}
    n = 2 if check.dry_run else config.n_layers
    return {
        name: [maker._quantized(torch.nn.Linear(i, o, device="meta"), name, generator) for _ in range(n)]
        for name, (o, i) in shapes.items()
    }


def _speeds(kernel: Any, weights: list[Any], check: Check) -> dict[str, Any]:
    """Error and bytes per second at each number of rows."""
    packed = [kernel.pack(weight) for weight in weights]
    n_bytes = sum(part.nbytes for part in weights[0].parts.values())
    dtype = torch.bfloat16 if check.device.type == "cuda" else torch.float32
    found: dict[str, Any] = {}
    for n_rows in ROWS[:2] if check.dry_run else ROWS:
        x = torch.randn(n_rows, weights[0].shape[1], device=check.device).to(dtype)
        error = relative_error(kernel.multiply(packed[0], x, None), dequantize(weights[0], x, None))
        check.expect(error < 2e-2, f"{kernel.name} with {n_rows} rows is wrong by {error:.1e}")
        seconds = seconds_each([lambda p=p, x=x: kernel.multiply(p, x, None) for p in packed], check.device)
        found[f"{n_rows} rows"] = f"{n_bytes / seconds / 1e9:.0f} GB/s, {seconds * 1e6:.1f} µs, error {error:.0e}"
    return found


def per_run(work: Callable[[], Any], check: Check, n: int = 3) -> float:
    """Median seconds of a run, by events on a GPU."""
    work()
    times = []
    for _ in range(n):
        if check.device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1e3)
        else:
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return median(times)


def stream(check: Check) -> dict[str, Any]:
    """The whole, streamed as a user hears it: first sound, real-time factor, stalls between codes, peak memory."""
    pipeline, _ = published(check)
    voice = voice_of_length(pipeline.pack, PROMPT_S)
    engine = Engine(pipeline, LatencyModel())
    n_codes = 24 if check.dry_run else 400
    found: dict[str, Any] = {}
    for preset in ("best", "balanced", "fast"):
        options = SynthesisOptions(**{**PRESETS[preset], "max_codes": n_codes, "guards": False, "n_beams": 1})
        speaker = make_speaker(pipeline.networks, voice, prompt_s=options.prompt_s)
        if check.dry_run:
            options = SynthesisOptions(n_steps=2, max_codes=n_codes, guards=False, n_beams=1)
        for _ in range(3):  # compiles, captures, fills caches
            _speak(engine, speaker, options)
            pipeline.networks.wait_for_compilers()
        reset_peak_memory(check.device)
        found[preset] = _speak(engine, speaker, options)
        if check.device.type == "cuda":
            found[preset]["peak_mib"] = torch.cuda.max_memory_allocated(check.device) / MIB
        else:
            found[preset]["peak_mib"] = peak_rss_mb()
        if check.left_s < 45 and not check.dry_run:
            break
    return found


def _speak(engine: Engine, speaker: Speaker, options: SynthesisOptions) -> dict[str, Any]:
    ids = tuple(range(10, 10 + TEXT_TOKENS))
    queued = QueuedSegment("noise", "noise", ids, 0, 5, 0.0, Expected(), time.perf_counter())
    state = StreamState()
    first, n_samples, codes_at = 0.0, 0, list[float]()
    with _listening(codes_at):
        started = time.perf_counter()
        arrivals = [started]
        session = Session(engine, speaker, iter([queued]), options, 1, FixedSeconds(SEEDED_S), state, n_tokens=len(ids))
        with SpeechStream(session, []) as chunks:
            for chunk in chunks:
                first = first or time.perf_counter() - started
                n_samples += len(chunk.samples)
                arrivals.append(time.perf_counter())
    seconds = n_samples / session.sample_rate
    return {
        "first_sound_ms": 1e3 * first,
        "rtf": (arrivals[-1] - started) / seconds,
        "speech_s": seconds,
        "longest_wait_for_a_chunk_ms": 1e3 * max(after - before for before, after in pairwise(arrivals)),
        "ms_between_codes": _histogram([1e3 * (after - before) for before, after in pairwise(codes_at)]),
    }


@contextmanager
def _listening(codes_at: list[float]) -> Iterator[None]:
    """Notes when each code comes to the stream; those of a burst come together."""
    steps = GuardedCodes.__iter__

    def noted(decoding: GuardedCodes) -> Iterator[list[int]]:
        for new in steps(decoding):
            codes_at.extend([time.perf_counter()] * len(new))
            yield new

    with patch.object(GuardedCodes, "__iter__", noted):
        yield


def _histogram(milliseconds: list[float]) -> dict[str, int]:
    edges = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, float("inf"))
    return {f"{low:g} to {high:g}": sum(low <= ms < high for ms in milliseconds) for low, high in pairwise(edges)}


def built_in(check: Check) -> dict[str, Any]:
    """The built-in model on the CPU in fp32 against this device, exact and fast, with the same codes and noise."""
    pack = open_pack(builtin_pack())
    voice = Voice.load(pack.file(next(iter(pack.manifest.ready_voices().values()))))
    options = SynthesisOptions.of(pack.manifest.defaults, {"seed": 1, "guards": False, "n_beams": 1, "max_codes": 60})
    ids = list(range(5, 25))
    reference: dict[str, Tensor] = {}
    rows = []
    plans = [("reference", torch.device("cpu")), *((c, check.device) for c in ("exact", "fast"))]
    codes: list[int] = []
    for compute, device in plans:
        pipeline = Pipeline(pack, device, compute=compute)  # type: ignore[arg-type]
        with torch.inference_mode():
            speaker = make_speaker(pipeline.networks, voice, prompt_s=options.prompt_s)
            prompt = pipeline.prompt(speaker, ids)
            own = generate_codes(pipeline.gpt, prompt, GREEDY, None, decoders=pipeline.decoders).codes[:60]
            codes = codes or own
            features = pipeline.features(prompt, codes)
            condition = pipeline.condition(features)
            noise = pipeline.noise(condition.shape[1], torch.Generator().manual_seed(1))
            mel = pipeline.mel(speaker, condition, noise, options.flow_settings())
            found = {"features": features.float().cpu(), "mel": mel.float().cpu(), "waveform": pipeline.waveform(mel)}
        if compute == "reference":
            reference = found
            continue
        row: dict[str, Any] = {"compute": compute, "device": str(device)}
        row["same_codes"] = sum(a == b for a, b in zip(own, codes, strict=False)) / max(1, len(codes))
        for name, limit in LIMITS[compute].items():
            row[name] = relative_error(found[name], reference[name])
            check.expect(
                row[name] < limit, f"built-in {name} in {compute}: off by {row[name]:.1e}, not below {limit:.0e}"
            )
        row["waveform"] = relative_error(found["waveform"], reference["waveform"])
        rows.append(row)
    return {"rows": rows}


def upstream(check: Check) -> dict[str, Any]:
    """Upstream's arithmetic (3 beams, 25 steps; fp32, then fp16 autocast) and ours, in one run: seconds and ratios."""
    n_codes = 16 if check.dry_run else 150
    pack = RandomPack(published_config("mini" if check.dry_run else "full"), scheme=None)
    found: dict[str, Any] = {}
    settings = FlowSettings(n_steps=2 if check.dry_run else 25, solver="euler", cfg_rate=0.7)
    plain = Pipeline(pack, check.device, compute="reference")  # type: ignore[arg-type]
    for name, dtype in (("upstream fp32", None), ("upstream fp16 autocast", torch.float16)):
        with torch.autocast(
            check.device.type, dtype or torch.bfloat16, enabled=dtype is not None and not check.dry_run
        ):
            found[name] = _whole(check, plain, DecodeSettings(n_beams=3, max_codes=n_codes), settings, on_host=True)
    del plain
    ours, _ = published(check)
    found["ours, the same search and steps"] = _whole(
        check, ours, DecodeSettings(n_beams=3, max_codes=n_codes), settings, on_host=False
    )
    fast = SynthesisOptions(**PRESETS["fast"]).flow_settings()
    found["ours, preset fast"] = _whole(check, ours, DecodeSettings(n_beams=1, max_codes=n_codes), fast, on_host=False)
    base = found["upstream fp32"]["seconds"]
    for row in found.values():
        row["times_upstream_fp32"] = base / row["seconds"]
    return found


def _whole(
    check: Check, pipeline: Pipeline, settings: DecodeSettings, flow: FlowSettings, *, on_host: bool
) -> dict[str, float]:
    voice = voice_of_length(pipeline.pack, PROMPT_S)
    with torch.inference_mode():
        speaker = make_speaker(pipeline.networks, voice)
        times = []
        for _ in range(2):
            synchronize(check.device)
            started = time.perf_counter()
            prompt = pipeline.prompt(speaker, range(10, 10 + TEXT_TOKENS))
            decoders = None if on_host else pipeline.decoders
            generator = torch.Generator().manual_seed(1)
            codes = generate_codes(
                pipeline.gpt,
                prompt,
                settings,
                generator,
                stepper=None if on_host else pipeline.stepper,
                decoders=decoders,
            ).codes
            condition = pipeline.condition(pipeline.features(prompt, codes))
            noise = pipeline.noise(condition.shape[1], torch.Generator().manual_seed(1))
            pipeline.waveform(pipeline.mel(speaker, condition, noise, flow))
            synchronize(check.device)
            times.append(time.perf_counter() - started)
    seconds = min(times)
    return {"seconds": seconds, "rtf": seconds / (len(codes) / pipeline.config.code_rate)}


def second_start(check: Check) -> dict[str, Any]:
    """`edgetts warmup` of the built-in model twice, with caches of their own: the second one compiles nothing."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        own = {name: value for name, value in os.environ.items() if name not in VARIABLES}  # set by this process
        environment = {**own, "XDG_CACHE_HOME": folder, "XDG_DATA_HOME": folder}
        command = [sys.executable, "-m", "edgetts", "warmup", "--json", "--device", check.device.type]
        for name in ("cold", "warm"):
            started = time.perf_counter()
            run = subprocess.run(
                command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
                timeout=max(90.0 if check.dry_run else 20.0, min(90.0, check.left_s)),
            )  # fmt: skip
            check.expect(run.returncode == 0, f"edgetts warmup ended with {run.returncode}: {run.stderr[-300:]}")
            said = json.loads(run.stdout) if run.returncode == 0 else {}
            found[name] = {"seconds": time.perf_counter() - started, **said}
    first = found["cold"].get("compiled", {"new_files": 0})
    check.expect(check.dry_run or first["new_files"] > 0, "the first start wrote no file of compilers")
    made = found["warm"].get("compiled", {"misses": 0, "new_files": 0})
    check.expect(made["misses"] == 0, f"the second start compiled {made['misses']} graphs")
    check.expect(made["new_files"] == 0, f"the second start wrote {made['new_files']} files of compilers")
    return found


def published(check: Check, compute: str = "fast", **how: Any) -> tuple[Pipeline, Speaker]:
    """The published size with drawn int4 weights, and a voice of noise; small in a dry run."""
    pack = RandomPack(published_config("mini" if check.dry_run else "full"))
    pipeline = Pipeline(pack, check.device, compute=compute, **how)  # type: ignore[arg-type]
    return pipeline, make_speaker(pipeline.networks, voice_of_length(pack, PROMPT_S))  # type: ignore[arg-type]


def _bytes_per_code(pipeline: Pipeline) -> int:
    """Of the weights that a decoding step reads."""
    gpt = pipeline.gpt
    layers = (
        m
        for name, m in gpt.named_modules()
        if isinstance(m, QuantizedLinear) and (name == "mel_head" or name.startswith("gpt.h"))
    )
    group = pipeline.pack.group  # type: ignore[attr-defined]
    return sum(_stored_bytes(layer, None if layer.scheme == "int8_channel" else group) for layer in layers)


def _stored_bytes(layer: QuantizedLinear, group: int | None) -> int:
    """Of its weight in the pack; the kernel may keep another form of it."""
    scheme = SCHEMES[layer.scheme]
    layout = scheme.layout((layer.out_features, layer.in_features), group)
    return sum(math.prod(layout[part]) * dtype.itemsize for part, dtype in scheme.parts.items())
