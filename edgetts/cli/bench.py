"""`edgetts bench`: measures the speed of a pack against the roofline of this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgetts.cli.common import (
    ComputeOption,
    DeviceOption,
    JsonOption,
    MemoryBudgetOption,
    PackOption,
    ProgressBar,
    QuietOption,
    compute_name,
    environment,
    memory_bytes,
    mib,
    print_json,
    print_line,
    print_notice,
)
from edgetts.errors import UsageError

if TYPE_CHECKING:
    from edgetts.bench.report import Report

SOUND = "Generation: sound"


def bench(
    context: typer.Context,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="Text to speak; only its length matters.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Length of the speech, 0.2 to 60.")] = 5.0,
    prompt_seconds: Annotated[
        float | None,
        typer.Option("--prompt-seconds", help="Length of the voice's prompt, 0.5 to 15. [the pack's, else 5]"),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Runs of each stage.")] = 3,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare",
            metavar="PACK|reference",
            help="Also measure another pack, of any family of models, or the same weights in plain fp32; may be "
            "repeated.",
        ),
    ] = None,
    enroll: Annotated[bool, typer.Option("--enroll/--no-enroll", help="Also measure learning a voice.")] = True,
    stream: Annotated[
        bool, typer.Option("--stream/--no-stream", help="Also measure the time to the first sound.")
    ] = True,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Also measure the start of a new process.")] = True,
    soak: Annotated[
        int,
        typer.Option("--soak", metavar="CALLS", help="Also speak this many texts in sequence and measure the memory."),
    ] = 0,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Flow steps. [the pack's]", rich_help_panel=SOUND)
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option("--solver", help="euler, ab2, heun or midpoint. [the pack's]", rich_help_panel=SOUND),
    ] = None,
    cfg_rate: Annotated[
        float | None, typer.Option("--cfg-rate", help="Guidance, 0 to 10. [the pack's]", rich_help_panel=SOUND)
    ] = None,
    cfg_until: Annotated[
        float | None,
        typer.Option("--cfg-until", help="Guidance up to this flow time. [the pack's]", rich_help_panel=SOUND),
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="best, balanced or fast.", rich_help_panel=SOUND)
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="CPU threads. [all cores]")] = None,
    pack: PackOption = None,
    device: DeviceOption = None,
    compute: ComputeOption = None,
    memory_budget: MemoryBudgetOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a web page with a chart.", rich_help_panel="Output"),
    ] = None,
) -> None:
    """Measure every stage of a pack against the roofline: the floor from this machine's bandwidth and matrix rate.

    Times depend only on lengths, so the voice is noise; one beam is used. With --compare, the packs run
    alternately, stage by stage, so that the ratios hold on a busy machine, too; all speak for the same seconds with
    the same settings. Settings that are not given are the pack's own; the report names them.

    Examples:

        edgetts bench --compare reference --compute fast --html bench.html

        edgetts bench --pack indextts2.5.pack --compare indextts2.pack --compare reference --preset fast

        edgetts bench --soak 300 --html bench.html
    """
    from edgetts.audio.formats import check_target, write_file
    from edgetts.audio.overwrite import PAGE, check_kind
    from edgetts.options import SynthesisOptions, preset_options

    compute_mode = compute_name(compute)
    budget = memory_bytes(memory_budget)
    given = {"n_steps": steps, "solver": solver, "cfg_rate": cfg_rate, "cfg_until": cfg_until}
    chosen = {**preset_options(preset), **{name: value for name, value in given.items() if value is not None}}
    chosen.pop("n_beams", None)  # one is measured
    SynthesisOptions.of({}, chosen)  # misuse is reported before anything slow
    if threads is not None and threads < 1:
        raise UsageError(f"--threads is {threads}; allowed is 1 or more.")
    if page is not None and page.is_dir():
        raise UsageError(f"{page} is a folder; give a file with --html.")
    if page is not None:
        check_target(page)
        check_kind(page, PAGE)

    from edgetts.pack.locate import locate_pack

    known = environment(context)
    located = locate_pack(pack or known.pack, known.home)

    import torch

    from edgetts.backends.device import choose_device
    from edgetts.backends.kernels import AUTO
    from edgetts.bench.page import render
    from edgetts.bench.run import DEFAULT_TEXT, Plan, measure
    from edgetts.pack.load import open_pack

    if threads is not None:
        torch.set_num_threads(threads)
    where = choose_device(device or known.device or "auto")
    opened = open_pack(located.path, home=known.home)
    plan = Plan.of(
        *(opened, chosen),
        seconds=seconds,
        prompt_s=prompt_seconds,
        repeats=repeats,
        text=DEFAULT_TEXT if text is None else text,
        compare=tuple(compare or ()),
        enrolls=enroll,
        streams=stream,
        starts=start,
        soak=soak,
    )
    if located.notice and not (quiet or as_json):
        print_notice(located.notice)
    with ProgressBar(enabled=not quiet) as progress:
        report = measure(
            *(opened, plan),
            device=where,
            compute=compute_mode,
            memory_budget=budget,
            kernel=known.kernel or AUTO,
            home=known.home,
            progress=progress,
            tell=(lambda _: None) if quiet or as_json else print_notice,
        )
    if page is not None:
        write_file(page, render(report).encode())
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)


def _print(report: Report) -> None:
    _print_table(_stage_rows(report))
    print_line()
    _print_table(_pack_rows(report))
    first = "" if report.first_audio_ms is None else f", first sound after {report.first_audio_ms:.0f} ms"
    gpu = "" if report.peak_cuda_mb is None else f", {report.peak_cuda_mb:.0f} MB on the GPU"
    print_line()
    print_line(f"RTF {report.rtf:.3g} for {report.audio_s:.1f} s of speech{first}")
    start = f"loaded in {report.load_s:.2f} s, warm after {report.warmup_s:.2f} s"
    print_line(f"peak memory {report.peak_rss_mb:.0f} MB{gpu}, expected {report.expected_mb:.0f} MB; {start}")
    if report.startup is not None:
        fresh = report.startup
        print_line(
            f"a new process imports edgetts in {fresh.import_s:.3f} s; its first sound of {report.pack} comes "
            f"{fresh.first_sound_s:.2f} s after its start"
        )
    if report.soak is not None:
        soak = report.soak
        print_line(
            f"resident memory {soak.settled_mb:.0f} MB after call {soak.settled_at}, {soak.end_mb:.0f} MB after call "
            f"{soak.n_calls}: {soak.growth_mb:+.0f} MB; {soak.calls_per_minute:.3g} calls a minute"
        )
    print_line(settings_line(report.about))
    print_line(
        f"machine: {report.machine['bandwidth_gb_s']:.1f} GB/s, {report.machine['matrix_tflops']:.3g} TFLOP/s, "
        f"{report.machine['threads']} threads, {report.machine['device']}"
    )


def _print_table(rows: list[list[str]]) -> None:
    """The first row has the titles; all columns but the first are aligned to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column(rows[0][0])
    for title in rows[0][1:]:
        table.add_column(title, justify="right")
    for row in rows[1:]:
        table.add_row(*row)
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160).print(table)


def _stage_rows(report: Report) -> list[list[str]]:
    """Stages, with the median and the ratio of every comparison."""
    titles = ["stage", "median", "spread", "floor", "of floor"]
    rows = [titles + [title for each in report.comparisons for title in (each.name, "x")]]
    for name, stage in report.stages.items():
        ratio = stage.floor_ratio
        row = [name, f"{stage.median_s:.4g} s", f"{stage.spread_s:.2g} s"]
        row += ["" if stage.floor_s is None else f"{stage.floor_s:.4g} s", "" if ratio is None else f"{ratio:.0%}"]
        for each in report.comparisons:
            known = name in each.stages
            row += [f"{each.stages[name].median_s:.4g} s", f"{each.speedups[name]:.2f}"] if known else ["", ""]
        rows.append(row)
    if report.comparisons:
        rtf = ["RTF", f"{report.rtf:.3g}", "", "", ""]
        rows.append(rtf + [cell for each in report.comparisons for cell in (f"{each.rtf:.3g}", "")])
    return rows


def _pack_rows(report: Report) -> list[list[str]]:
    """The measured packs: sizes, and learning a voice if that was measured."""
    enrolls = report.packs[0].enroll_s is not None
    rows = [["pack", "family", "size", "while speaking", *(("to enroll", "needs") if enrolls else ())]]
    for each in report.packs:
        row = [each.name, each.family, mib(each.pack_bytes), mib(each.run_bytes)]
        if each.enroll_s is not None and each.enroll_bytes is not None:
            row += [f"{each.enroll_s:.3g} s", mib(round(each.enroll_bytes))]
        rows.append(row)
    return rows


def settings_line(about: Mapping[str, Any]) -> str:
    """The measured settings, and which of them were given."""
    given = [name.replace("_", " ") for name in about["given"]]
    whose = f"given: {', '.join(given)}; the others are the pack's own" if given else "the pack's own"
    return (
        f"settings: {about['n_steps']} steps of {about['solver']}, guidance {about['cfg_rate']:g} up to "
        f"{about['cfg_until']:g}, sway {about['sway']:g}, noise {about['noise_scale']:g}, "
        f"{about['prompt_seconds']:g} s of voice, one beam ({whose})"
    )
