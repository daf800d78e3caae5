"""`edgetts info`: shows a pack, from its manifest and the headers of its files. Does not import torch."""

from __future__ import annotations

import math
import os
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgetts.cli.common import (
    ComputeOption,
    DeviceOption,
    JsonOption,
    ProgressBar,
    compute_name,
    environment,
    mib,
    print_json,
    print_line,
)
from edgetts.cli.environment import Environment
from edgetts.errors import PackError, one_line
from edgetts.pack.locate import BUILTIN_NOTICE

if TYPE_CHECKING:
    from edgetts.compute import Compute
    from edgetts.pack.entries import Manifest

_CODES_IN_A_BYTE = {"int8_channel": 1, "int4_group": 2, "nf4_group": 2}
_UNCHANGED = 200.0  # dB, stands for tensors that quantization did not change
_REPORT_FILE = "report.html"  # written by `edgetts quantize`
_LAYER = re.compile(r"(?:^|\.)(\d+)\.")  # of a tensor, by its name


def info(
    context: typer.Context,
    pack: Annotated[
        str | None, typer.Argument(metavar="PACK", help="Pack folder or name. Default: the pack `say` would use.")
    ] = None,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Also measure the kernels for the pack's quantized weights.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Also check every file against its checksum.")] = False,
    memory: Annotated[
        bool,
        typer.Option("--memory", help="Also estimate the memory that speaking takes here, then load and measure it."),
    ] = False,
    device: DeviceOption = None,
    compute: ComputeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the contents of a model pack, and its quality as measured when it was made.

    With --kernels, every kernel for its quantized weights is measured on this machine, with more weights than the
    caches hold. The CPU uses the first kernel that works, CUDA the fastest; EDGETTS_KERNEL overrides this.

    Example:

        edgetts info indextts2.pack --kernels
    """
    from edgetts.families import FAMILIES
    from edgetts.pack.locate import locate_pack
    from edgetts.pack.manifest import read_manifest
    from edgetts.pack.strict import to_dict

    known = environment(context)
    located = locate_pack(pack or known.pack, known.home)
    manifest = read_manifest(located.path)
    if verify:
        _verify(located.path, manifest, known.home)
    family = FAMILIES[manifest.family]
    by_phase = (("enroll", family.enroll_components), ("run", family.run_components))
    components = {}
    for name, entry in manifest.components.items():
        phases = [p for p, names in by_phase if name in names]
        n_tensors, n_values = _count(located.path / entry.file, {n: g.scheme for n, g in entry.scheme_of().items()})
        components[name] = {
            "phase": phases,
            "dtype": entry.dtype,
            "schemes": sorted({group.scheme for group in entry.schemes}),
            "tensors": n_tensors,
            "parameters": n_values,
            "bytes": manifest.files[entry.file].bytes,
        }
    about: dict[str, Any] = {
        "path": located.path.absolute(),
        "builtin": located.is_builtin,
        "name": manifest.name,
        "description": manifest.description,
        "family": manifest.family,
        "recipe": manifest.recipe,
        "created_by": manifest.created_by,
        "license": manifest.license,
        "encoder_id": manifest.encoder_id,
        "bytes": manifest.total_bytes,
        "components": components,
        "model": to_dict(manifest.model),
        "defaults": dict(manifest.defaults),
        "without": list(manifest.without),
        "quality": manifest.quality,
        "verified": verify,
    }
    if kernels:
        where, wanted = device or known.device or "auto", known.kernel or "auto"
        about["kernels"] = _kernels(located.path, known.home, where, wanted, compute_name(compute))
    if not as_json:
        _print(about)
    if memory:
        about["memory"] = _memory(located.path, known, device, compute_name(compute), tells=not as_json)
    if as_json:
        print_json(about)


def _print(about: dict[str, Any]) -> None:
    for key in ("name", "description", "path", "family", "recipe", "created_by", "license"):
        if str(about[key]):
            print_line(f"{key.replace('_', ' '):<12}{one_line(str(about[key]))}")
    if about["builtin"]:
        print_line(f"{'note':<12}{BUILTIN_NOTICE}")
    print_line(f"{'encoders':<12}{about['encoder_id'][:12]}")
    verified = ", all checksums match" if about["verified"] else ""
    print_line(f"{'size':<12}{mib(about['bytes'])}{verified}")
    model = about["model"]
    print_line(f"{'speech':<12}{model['audio']['sample_rate']} Hz, {model['code_rate']:g} codes a second")
    before = _sizes_before(about["quality"])
    for phase, meaning in (("enroll", "loaded to learn a voice, then freed"), ("run", "resident while speaking")):
        chosen = {n: c for n, c in about["components"].items() if phase in c["phase"]}
        total = sum(c["bytes"] for c in chosen.values())
        print_line()
        print_line(f"{phase}: {mib(total)}, {meaning}")
        for name, c in chosen.items():
            kind = ", ".join([c["dtype"], *c["schemes"]])
            was = f" (fp32: {mib(before[name])})" if name in before else ""
            print_line(f"  {name:<20}{c['parameters'] / 1e6:>9.2f} M  {mib(c['bytes']):>10}  {kind}{was}")
    if about["defaults"]:
        print_line()
        print_line("defaults: " + ", ".join(f"{name} {value}" for name, value in about["defaults"].items()))
    if about["without"]:
        print_line(f"without: {', '.join(about['without'])}; these options have no effect")
    _print_quality(about["quality"], about["path"])
    for trial in about.get("kernels", ()):
        verdict = trial["problem"] or (
            f"error {trial['error']:.1e}, {trial['microseconds']:.0f} us at one row, {trial['gb_per_s']:.1f} GB/s"
            f"{_ahead(trial, about['kernels'])}"
        )
        mark = "*" if trial["chosen"] else " "
        print_line(f"{mark} {trial['weights']:<24}{trial['kernel']:<20}{verdict}")


def _memory(path: Path, known: Environment, device: str | None, compute: Compute | None, *, tells: bool) -> Any:
    """What a usual call is expected to take, told before anything is loaded, and what it took at most."""
    from edgetts.backends.device import choose_device
    from edgetts.backends.numbers import default_compute
    from edgetts.bench.footprint import expected, measured_peak, usual_size
    from edgetts.memory import Place, device_memory, shown
    from edgetts.pack.load import open_pack

    where, kernel = choose_device(device or known.device or "auto"), known.kernel or "auto"
    pack = open_pack(path, home=known.home)
    way = compute or default_compute(where, pack.manifest.defaults, pack.manifest.quality)
    place = Place.of(where, way, kernel)
    bound, there = expected(pack, way, place, usual_size(pack)), device_memory(where)
    parts = {name: getattr(bound, name) for name in ("start", "weights", "decode", "features", "flow", "vocoder")}
    if tells:
        free = "" if there is None else f"; {shown(there.free)} of {shown(there.total)} are free"
        print_line()
        print_line(f"memory on {where}, compute {way}: at most about {shown(bound.peak)} of {place.kind}{free}")
        print_line("  " + ", ".join(f"{name} {shown(n_bytes)}" for name, n_bytes in parts.items()))
    peak = measured_peak(pack, where, way, kernel)
    if tells:
        cuda = "" if peak.cuda is None else f", tensors on the GPU {shown(peak.cuda)}"
        print_line(f"  measured: the process held {shown(peak.host)}{cuda}")
    found = {"device": str(where), "compute": way, "expected_bytes": bound.peak, "parts": parts}
    return {**found, "peak_bytes": peak.host, "peak_cuda_bytes": peak.cuda}


def _verify(path: Path, manifest: Manifest, home: Path | None) -> None:
    """Check every file against the manifest. Raises PackError for the first mismatch."""
    from edgetts.pack.locate import cache_folder
    from edgetts.pack.verify import Verifier

    verifier, done = Verifier(cache_folder(home)), 0
    with ProgressBar() as progress:
        for name, entry in manifest.files.items():
            progress(f"checking {name}", done / max(manifest.total_bytes, 1))
            verifier.check(path / name, entry, force=True)
            done += entry.bytes


def _sizes_before(quality: Any) -> dict[str, int]:
    """Bytes of each component before quantization, if the pack has them."""
    sizes = quality.get("sizes") if isinstance(quality, dict) else None
    entries = sizes.items() if isinstance(sizes, dict) else ()
    return {n: s["before"] for n, s in entries if isinstance(s, dict) and isinstance(s.get("before"), int)}


def _print_quality(quality: Any, path: Path) -> None:
    """The figures of `edgetts.quant.report`; an unknown table is printed as it is."""
    if not quality:
        return
    print_line()
    try:
        lines = _quality_lines(quality, path)
    except (KeyError, TypeError, ValueError, AttributeError):  # another table than that of `edgetts.quant.report`
        lines = [f"quality: {', '.join(f'{k} {v}' for k, v in quality.items() if isinstance(v, (int, float, str)))}"]
    for line in lines:
        print_line(line)


def _quality_lines(quality: Mapping[str, Any], path: Path) -> list[str]:
    gpt, sound = quality["gpt"], quality["sound"]
    lines = [
        f"quality, compared with {quality.get('compared_with')}:",
        f"  same most likely code {100 * gpt['top1']:.1f} % of {gpt['n_codes']}, KL {gpt['kl_mean']:.3g} nats",
        f"  log-mel distance {sound['mel_distance']:.3g}, of the waveform {sound['waveform_mel_distance']:.3g}, "
        f"spectral convergence {sound['spectral_convergence']:.3g}",
    ]
    if fast := (quality.get("compute") or {}).get("fast"):
        numbers = ", ".join(f"{stage} in {dtype}" for stage, dtype in fast["numbers"].items())
        lines.append(
            f"  compute fast ({numbers}): same most likely code {100 * fast['gpt']['top1']:.1f} %, "
            f"log-mel distance {fast['sound']['mel_distance']:.3g}"
        )
    if judged := quality.get("judged"):
        lines.append("  " + ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in judged.items()))
    for component, tensors in (quality.get("snr_db") or {}).items():
        lines.append(f"  {component}, signal to quantization noise: {_noise(tensors)}")
    return [*lines, f"  all tensors and plots: {path / _REPORT_FILE}"]


def _noise(tensors: Mapping[str, float]) -> str:
    """Median and lowest of the tensors, and the mean of each layer if there are several."""
    worst = min(tensors, key=lambda name: tensors[name])
    if tensors[worst] >= _UNCHANGED:
        return "unchanged"
    text = f"median {statistics.median(tensors.values()):.1f} dB, lowest {tensors[worst]:.1f} ({worst})"
    layers: dict[int, list[float]] = {}
    for name, decibels in tensors.items():
        if found := _LAYER.search(name):
            layers.setdefault(int(found[1]), []).append(decibels)
    if len(layers) > 1:
        text += "; by layer " + " ".join(f"{statistics.mean(layers[layer]):.0f}" for layer in sorted(layers))
    return text


def _ahead(trial: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> str:
    """Speedup of the chosen kernel over the next fastest, or nothing if no other one works."""
    others = [
        other["microseconds"]
        for other in trials
        if other["weights"] == trial["weights"] and not other["chosen"] and not other["problem"]
    ]
    if not trial["chosen"] or not others:
        return ""
    return f", {min(others) / trial['microseconds']:.2f} times as fast as the next"


def _kernels(path: Path, home: Path | None, device: str, wanted: str, compute: Compute | None) -> list[dict[str, Any]]:
    """Measurements of every kernel for every kind of quantized weight of the GPT on this machine, and which one is
    chosen in a compute mode (None: the default here)."""
    from edgetts.backends.device import choose_device
    from edgetts.backends.kernels import KERNELS, KernelChoice, measure_kernel
    from edgetts.backends.numbers import default_compute
    from edgetts.pack.load import open_pack
    from edgetts.pack.schemes import Quantized

    where = choose_device(device)
    pack = open_pack(path, home=home)
    way = compute or default_compute(where, pack.manifest.defaults, pack.manifest.quality)
    choice = KernelChoice(where, wanted, way)
    weights: dict[str, Quantized] = {}
    for weight in pack.stored("gpt").values():
        if isinstance(weight, Quantized):
            group = "" if weight.group_size is None else f"/{weight.group_size}"
            weights.setdefault(f"{weight.scheme}{group} of {weight.shape[1]}", weight)
    rows = []
    for name, weight in weights.items():
        chosen = choice(weight)
        for kernel in (k for k in KERNELS if k.scheme == weight.scheme):
            trial = measure_kernel(kernel, weight, where)
            rows.append(
                {
                    "weights": name,
                    "kernel": kernel.name,
                    "chosen": kernel is chosen,
                    "problem": trial.problem,
                    "error": trial.error,
                    "microseconds": trial.microseconds,
                    "gb_per_s": trial.gb_per_s,
                }
            )
    return rows


def _count(path: Path, schemes: Mapping[str, str]) -> tuple[int, int]:
    """Number of tensors and of values in a safetensors file, from its header. schemes: of its quantized tensors."""
    from edgetts.pack.header import METADATA, tensor_header

    try:
        header = tensor_header(path)
        n_values = {name: math.prod(entry["shape"]) for name, entry in header.items() if name != METADATA}
        parts = {name for name in n_values if name.rpartition(".")[0] in schemes}
        codes = [_CODES_IN_A_BYTE[scheme] * n_values[f"{name}.codes"] for name, scheme in schemes.items()]
    except (KeyError, TypeError, AttributeError) as error:
        raise PackError(
            f"{os.fspath(path)} is not a valid tensor file ({error!r}); copy or convert the pack again."
        ) from None
    n_plain = sum(n_values[name] for name in n_values.keys() - parts)
    return len(n_values) - len(parts) + len(schemes), n_plain + sum(codes)
