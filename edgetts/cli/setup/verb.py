"""`edgetts setup`: from nothing to speech, step by step, guided or by flags."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from edgetts.cli import complete
from edgetts.cli.common import (
    JsonOption,
    ProgressBar,
    QuietOption,
    environment,
    print_json,
    print_line,
    print_notice,
    stopping,
)
from edgetts.cli.environment import Environment
from edgetts.cli.hubs import HUGGING_FACE, MirrorOption, hubs
from edgetts.cli.setup import ask
from edgetts.cli.setup.ask import tell
from edgetts.cli.setup.choices import ask_voice, check_voice, choose_family_of, choose_recipe_of, folder_of
from edgetts.cli.setup.licenses import agree
from edgetts.cli.setup.look import look
from edgetts.cli.setup.plan import SetupPlan, check_name, make_plan, pack_name
from edgetts.cli.setup.steps import SENTENCE, Done, Steps
from edgetts.errors import DownloadError, UsageError, one_line
from edgetts.pack.locate import data_folder

_ACCEPT = "--accept-license"
_RESUMES = "the same command goes on where it stopped"
_UNCHANGED = "nothing was changed"


def setup(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="IndexTTS-2.5 or IndexTTS-2. [IndexTTS-2.5]", show_default=False),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe", "-r", metavar="NAME|FILE", help="How to store the model.", autocompletion=complete.recipes
        ),
    ] = "auto",
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="huggingface|modelscope|FOLDER",
            help="Whose hub to download from, or a folder with a checkpoint, of which what is missing is downloaded.",
        ),
    ] = HUGGING_FACE,
    mirror: MirrorOption = None,
    voice: Annotated[
        Path | None,
        typer.Option(
            "--voice",
            "-v",
            metavar="FILE",
            help="Recording of a voice to learn, 5 to 15 s of clear speech, or a voice file.",
            show_default=False,
        ),
    ] = None,
    voice_name: Annotated[
        str | None,
        typer.Option("--voice-name", metavar="NAME", help="Name of that voice. [the file's]", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Name of the pack. [model and recipe]", show_default=False),
    ] = None,
    text: Annotated[str, typer.Option("--say", metavar="TEXT", help="What to speak at the end.")] = SENTENCE,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write what is spoken to a file. [loudspeaker, or a file where there is none]",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Compare the pack with the original, which takes minutes more.")
    ] = False,
    accept_license: Annotated[
        bool, typer.Option(_ACCEPT, help="Agree to the licenses of the models without being asked.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take what is suggested, and ask nothing else.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fetch a model, make it ready for this machine, learn a voice and speak: everything in one go.

    Tells sizes and times before anything starts. Each step is left out if its result is there, so the same command
    goes on after an interruption. The default hub cache of Hugging Face is searched for files first.

    Examples:

        edgetts setup

        edgetts setup --dry-run

        edgetts setup --yes --accept-license --voice me.wav -o hello.wav
    """
    asks = ask.can_ask() and not (yes or dry_run or as_json)
    if not asks and not (yes or dry_run):
        raise UsageError(
            "`edgetts setup` asks questions, and there is no terminal to ask at: give --yes to take what it suggests "
            f"and {_ACCEPT} to agree to the licenses of the models, or --dry-run to see the plan."
        )
    known, told = environment(context), not quiet
    folder = folder_of(source)
    if name is not None:
        check_name(name)
    if output is not None:
        from edgetts.audio.formats import check_target

        check_target(output)
    voice_name = check_voice(voice, voice_name)

    with stopping(_UNCHANGED):
        with ProgressBar(enabled=told) as progress:
            progress("looking at this machine", 0.0)
            from edgetts.quant.machine import this_machine
            from edgetts.quant.recipe import AUTO, choose_recipe, load_recipe

            accelerator = this_machine()
            machine = look(data_folder(known.home), accelerator)
        if told:
            tell(f"This machine: {machine.line}.", indent="  ")
        family = choose_family_of(model, folder, asks=asks)
        suggested, reason = choose_recipe(accelerator) if recipe == AUTO else (recipe, "")
        chosen = choose_recipe_of(suggested, reason, asks=asks) if recipe == AUTO else recipe
        loaded = load_recipe(chosen)
        if asks and voice is None:
            voice, voice_name = ask_voice(voice_name)

        caches = [known.hub_cache] if known.hub_cache.is_dir() else []
        plan = make_plan(
            *(family, loaded, name or pack_name(family, chosen)),
            home=known.home,
            recipe_given=chosen,
            source=folder,
            hub_caches=caches,
            measures=report,
        )
        if not (plan.is_made or plan.is_here):
            plan = _with_download(plan, source, mirror, known, folder, caches, dry_run=dry_run, quiet=quiet)
        if told or dry_run:
            _show(plan, reason if chosen == suggested else "", voice, voice_name, text, output, machine.disk_bytes)
        if dry_run:
            if as_json:
                print_json({"dry_run": True, **_about(plan)})
            return
        plan.check_disk()
        _consent(plan, accept_license=accept_license, quiet=quiet)
        if asks and not ask.confirm("Go on?", default=True):
            raise UsageError("Nothing was changed.")

    steps = Steps(known, plan, caches, voice, voice_name, text, output, quiet)
    with stopping(_RESUMES):
        done = steps.all(lambda step: tell(step.line, indent=" " * 10) if told else None)
    _conclude(plan, steps, done, as_json=as_json, quiet=quiet)


def _with_download(
    plan: SetupPlan,
    source: str,
    mirror: str | None,
    known: Environment,
    folder: Path | None,
    caches: list[Path],
    *,
    dry_run: bool,
    quiet: bool,
) -> SetupPlan:
    """The plan with what is to be fetched, by asking the hub. A dry run goes on without an answer."""
    from edgetts.cli.download import ByteProgressBar
    from edgetts.quant.download import plan_download

    hub, other_hub = hubs(source if folder is None else HUGGING_FACE, mirror, known)
    try:
        with ByteProgressBar(enabled=not quiet) as progress:
            found = plan_download(
                *(plan.checkpoint, plan.family),
                hub=hub,
                other_hub=other_hub,
                reuse=[*([folder] if folder else []), *caches],
                progress=progress,
            )
    except DownloadError as error:
        if not dry_run:
            raise
        print_notice(f"What is to be downloaded is not known: {error}")
        return plan
    return dataclasses.replace(plan, download=found, checkpoint_bytes=found.total_bytes)


def _show(
    plan: SetupPlan,
    reason: str,
    voice: Path | None,
    voice_name: str | None,
    text: str,
    output: Path | None,
    free: int,
) -> None:
    from edgetts.cli.setup.look import GIB

    why = f" because {reason}" if reason else ""
    tell(f"Model: {plan.family.title}; recipe: {plan.recipe.name}{why}.", indent="  ")
    tell("What will be done (sizes and times are estimates; what is there is left out):")
    learned = f"learn {voice_name} from {voice}" if voice is not None else None
    own = (
        f"{voice_name}, if there is one"
        if voice_name
        else "none is given: one of the pack, else one of the built-in model"
    )
    rest = [
        ("default", f"{plan.pack.name} speaks where no other pack is named"),
        ("warm up", "choose kernels, run every stage: about a minute"),
        ("voice", learned or own),
        ("speak", f"{text!r} {f'to {output}' if output else 'through the loudspeaker'}"),
    ]
    for name, what in [*plan.lines(), *rest]:
        tell(f"  {name:<10}{what}", indent=" " * 12)
    if plan.needed_bytes:
        needed, kept = plan.needed_bytes / GIB, plan.kept_bytes / GIB
        tell(f"Disk: {needed:.1f} GiB while it runs, {kept:.1f} GiB of which stay; {free / GIB:.1f} GiB are free.")


def _consent(plan: SetupPlan, *, accept_license: bool, quiet: bool) -> None:
    """Show the licenses and ask, unless they were agreed to before. Raises UsageError, DownloadError."""
    from edgetts.quant.download_record import read_record
    from edgetts.quant.upstream_config import published

    if plan.is_made:
        return
    if plan.download is not None:
        agreed, licenses = plan.download.agreed, plan.download.licenses
    else:
        agreed = bool(read_record(plan.checkpoint).get("licenses"))
        known = published(plan.family)
        licenses = {known.repository: known.own_license, "the others": "see their pages"}
    if agreed or (accept_license and quiet):
        return
    agree(licenses, accepted=accept_license, flag=_ACCEPT)


def _about(plan: SetupPlan) -> dict[str, Any]:
    return {
        "model": plan.family.title,
        "recipe": plan.recipe.name,
        "pack": plan.pack,
        "pack_exists": plan.is_made,
        "checkpoint": plan.checkpoint,
        "download_bytes": plan.download_bytes,
        "needed_bytes": plan.needed_bytes,
        "estimated_s": {"download": round(plan.download_s), "quantize": 0 if plan.is_made else round(plan.quantize_s)},
    }


def _conclude(plan: SetupPlan, steps: Steps, done: list[Done], *, as_json: bool, quiet: bool) -> None:
    if as_json:
        told = [{"name": s.name, "state": s.state, "text": s.text, "seconds": round(s.seconds, 3)} for s in done]
        print_json({**_about(plan), "voice": steps.speaker, "steps": told})
        return
    if quiet:
        return
    voice = f" --voice {shlex.quote(steps.speaker)}" if steps.speaker else ""
    print_line(f'{plan.family.title} is ready: edgetts say "Good morning."{voice}')
    if plan.checkpoint.is_relative_to(data_folder(steps.known.home)) and plan.checkpoint.is_dir():
        print_line(f"The checkpoint in {one_line(str(plan.checkpoint))} is only needed to make other packs.")
