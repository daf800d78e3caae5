"""`edgetts warmup`: does the work in advance that would delay the first speech."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer

from edgetts.cli.common import (
    ComputeOption,
    DeviceOption,
    JsonOption,
    PackOption,
    ProgressBar,
    compute_name,
    environment,
    importing,
    print_json,
    print_line,
)

_TEXT = "Good morning."
_MAX_TOKENS = 120


def warmup(
    context: typer.Context,
    all_files: Annotated[
        bool, typer.Option("--all-files", help="Also check the files of the encoders, which only new voices need.")
    ] = False,
    pack: PackOption = None,
    device: DeviceOption = None,
    compute: ComputeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the files of a pack, choose its kernels, and measure its speed on this machine.

    Later commands use the cached results: they do not read checked files again for verification, and streams know
    the speed from the first word. Results are stored per pack, device and compute mode; nothing has to be deleted
    when they change.

    Example:

        edgetts warmup --pack my.pack --compute fast
    """
    compute_mode = compute_name(compute)

    from edgetts.pack.locate import locate_pack

    known = environment(context)
    located = locate_pack(pack or known.pack, known.home)

    with importing():
        from edgetts.api import TTS
        from edgetts.backends.compile_cache import CompileWatch, keep_compiled
        from edgetts.backends.kernels import AUTO
        from edgetts.bench.warm import warm

    with ProgressBar() as progress:
        started = time.perf_counter()
        progress("opening the pack", 0.0)
        tts = TTS.load(
            located.path,
            device=device or known.device or "auto",
            home=known.home,
            kernel=known.kernel or AUTO,
            compute=compute_mode,
        )
        if all_files:
            for i, name in enumerate(tts.pack.manifest.files):
                progress(f"checking {name}", 0.3 * i / len(tts.pack.manifest.files))
                tts.pack.file(name)
        progress("loading", 0.3)
        watch = CompileWatch(keep_compiled(tts.store.cache_dir.parent, tts.pack.manifest, tts.device))
        engine = tts.engine
        load_s = time.perf_counter() - started
        progress("running every stage", 0.6)
        warmed = warm(engine, tts.frontend().segments(_TEXT, _MAX_TOKENS).segments[0].ids)
    if as_json:
        print_json(
            {
                "pack": located.path.absolute(),
                "device": str(tts.device),
                "compute": tts.compute,
                "dtypes": {n: str(done.dtype).removeprefix("torch.") for n, done in tts.pipeline.prepared.items()},
                "load_s": load_s,
                "warmup_s": warmed.total_s,
                "cold_s": warmed.cold_s,
                "warm_s": warmed.warm_s,
                "buckets": warmed.n_buckets,
                "compiled": asdict(watch.so_far()),
            }
        )
    else:
        made = watch.so_far()
        prepared = f" {warmed.n_buckets} lengths were prepared." if warmed.n_buckets else ""
        compiled = f" {made.misses} graphs were compiled, {made.hits} found." if made.misses or made.hits else ""
        print_line(
            f"{located.path.name} is ready: loaded in {load_s:.1f} s; every stage ran in {warmed.cold_s:.1f} s "
            f"the first time and in {warmed.warm_s:.1f} s the second.{prepared}{compiled}"
        )
