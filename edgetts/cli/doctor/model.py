"""Checks of the model: packs and their files, kernels, memory, voices."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgetts.cli.doctor.finding import Finding, State, broken, note, ok
from edgetts.distribution import recipes_folder
from edgetts.errors import EdgeTTSError, PackError
from edgetts.pack.locate import LocatedPack, cache_folder, locate_pack, packs_folder
from edgetts.voices.store import VoiceStore

if TYPE_CHECKING:
    from edgetts.api import TTS
    from edgetts.pack.entries import Manifest

_MB = 1_000_000


def check_packs(home: Path | None, given: str | None, progress: Callable[[str, float], None]) -> list[Finding]:
    """Every file of the user's packs and of the one in use against its checksum, where it changed since it was read
    last. given: as for --pack."""
    found: dict[Path, LocatedPack] = {}
    folder = packs_folder(home)
    inside = folder.iterdir() if folder.is_dir() else ()
    paths = sorted(path for path in inside if path.is_dir() and not path.name.startswith("."))
    for wanted in (given, *map(str, paths)):
        try:
            located = locate_pack(wanted, home)
        except PackError as error:
            return [broken("pack", str(error).rstrip("."))]
        found.setdefault(located.path.resolve(), located)
    return [_check_pack(located, home, progress) for located in found.values()]


def _check_pack(located: LocatedPack, home: Path | None, progress: Callable[[str, float], None]) -> Finding:
    from edgetts.pack.manifest import read_manifest
    from edgetts.pack.verify import Verifier

    verifier, done = Verifier(cache_folder(home)), 0
    try:
        manifest = read_manifest(located.path)
        for name, entry in manifest.files.items():
            progress(f"checking {name}", done / max(manifest.total_bytes, 1))
            verifier.check(located.path / name, entry)
            done += entry.bytes
    except PackError as error:
        return broken("pack", str(error).rstrip("."))
    except OSError as error:
        return broken("pack", f"{located.path}: {(error.strerror or str(error)).lower()}")
    kind = "built-in" if located.is_builtin else str(located.path)
    text = f"{manifest.name} ({kind}), {manifest.total_bytes / _MB:.0f} MB, files intact"
    remedy = "a demonstration: `edgetts setup` fetches a published model" if located.is_builtin else ""
    return Finding("pack", State.OK, text, remedy)


def check_speech(tts: TTS) -> Finding:
    """A word through every stage; which kernels multiplied by the quantized weights."""
    from edgetts.backends.conv_forms import forms_used
    from edgetts.backends.linear import kernels_used
    from edgetts.server.health import speak_briefly

    try:
        speak_briefly(tts)
    except (EdgeTTSError, RuntimeError) as error:
        return broken(
            "kernels", f"a short synthesis failed: {error}", "try --device cpu, or EDGETTS_KERNEL=dequantized"
        )
    used = kernels_used(tts.pipeline.networks.gpt)
    kernels = ", ".join(f"{name} in {count} layers" for name, count in used.items()) or "no quantized layers"
    forms = ", ".join(f"{form} in {count}" for form, count in forms_used(tts.pipeline.networks.vocoder).items())
    convolutions = f"; convolutions: {forms}" if forms else ""
    return ok("kernels", f"spoke a word; compute {tts.compute}, {kernels}{convolutions}")


def check_memory(manifest: Manifest, needed: float, available: int, total: int, recipe_mb: int | None) -> Finding:
    """needed: bytes of a usual call. available, total: bytes of the memory that it uses. recipe_mb: what the pack's
    recipe allows for its weights."""
    weights = sum(manifest.files[manifest.components[name].file].bytes for name in _run_components(manifest))
    budget = "" if recipe_mb is None else f" of the {recipe_mb} MB that its recipe allows"
    text = f"weights {weights / _MB:.0f} MB{budget}; speaking takes up to {needed / _MB:.0f} MB of {total / _MB:.0f} MB"
    if recipe_mb is not None and weights > recipe_mb * _MB:
        return broken("memory", text, "the pack is larger than its recipe allows: quantize it again")
    if needed > total:
        return broken("memory", text, "use a smaller pack (`edgetts quantize --recipe auto`)")
    text += f", {available / _MB:.0f} MB are free"
    if needed > available:
        return note("memory", text, "close other programs, or set --memory-budget")
    return ok("memory", text)


def _run_components(manifest: Manifest) -> tuple[str, ...]:
    from edgetts.families import FAMILIES

    return tuple(name for name in FAMILIES[manifest.family].run_components if name in manifest.components)


def needed_bytes(tts: TTS) -> float:
    """Bytes of a call with the pack's defaults and a prompt of usual length."""
    from edgetts.bench.warm import PROMPT_S
    from edgetts.memory import Budget, Place, weigh
    from edgetts.options import SynthesisOptions

    place = Place.of(tts.device, tts.compute, tts.kernel)
    config = tts.pack.config
    budget = Budget(sys.maxsize, config, weigh(tts.pack, tts.compute, place), tts.compute, place, place.start())
    options = SynthesisOptions.of(tts.pack.manifest.defaults, {})
    return budget.estimate(options, round(PROMPT_S * config.audio.frame_rate), in_parts=True).peak


def recipe_budget(name: str) -> int | None:
    """MB that a shipped recipe allows for the weights that stay in memory; None: there is no such recipe."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    if re.fullmatch(r"[\w-]+", name) is None:
        return None
    path = recipes_folder() / f"{name}.toml"
    if not path.is_file():
        return None
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    limit = table.get("budget", {}).get("run_mb")
    return int(limit) if limit is not None else None


def check_voices(store: VoiceStore, encoder_id: str | None) -> list[Finding]:
    """encoder_id: of the pack; voices of another one cannot be used with it. None: there is no pack."""
    from edgetts.errors import VoiceError
    from edgetts.voices.voice import Voice

    findings, fitting, others = list[Finding](), list[str](), list[str]()
    for entry in store.entries():
        if entry.problem:
            findings.append(broken("voices", entry.problem.rstrip(".")))
            continue
        try:
            voice = Voice.load(entry.path)
        except VoiceError as error:
            findings.append(broken("voices", str(error).rstrip("."), f"`edgetts voices remove {entry.name}`"))
            continue
        (fitting if encoder_id in (None, voice.encoder_id) else others).append(entry.name)
    if others:
        text = f"made with another pack: {', '.join(others)}"
        findings.append(note("voices", text, "enroll them again, or use their pack"))
    if fitting:
        findings.append(ok("voices", ", ".join(fitting)))
    elif not findings:
        findings.append(note("voices", "no stored voice", "`edgetts voices add NAME RECORDING`"))
    return findings
