"""`edgetts voices`: the voices that have a name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from edgetts.cli.common import (
    STDIO,
    AdaptStepsOption,
    DeviceOption,
    JsonOption,
    PackOption,
    Progress,
    QuietOption,
    check_adapts,
    environment,
    print_json,
    print_line,
    print_notice,
)
from edgetts.errors import UsageError, one_line

app = typer.Typer(
    help="Keep voices under names: enrol a recording once, then use it with `--voice NAME`.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the voice.")]


@app.callback()
def voices(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("add")
def add(
    context: typer.Context,
    name: NameArgument,
    recording: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A recording (WAV, FLAC, OGG or MP3; 5 to 15 s of clear speech are best) or a voice file.",
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace a voice of that name.")] = False,
    adapt_steps: AdaptStepsOption = None,
    pack: PackOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Learn a voice from a recording and keep it under a name.

    Example:

        edgetts voices add anna interview.mp3
    """
    from edgetts.pack.manifest import VOICE_SUFFIX
    from edgetts.voices_store import VoiceStore

    known = environment(context)
    store = VoiceStore.default(known.home)
    store.check_new(name, replace=force)
    if recording == STDIO:
        raise UsageError("A voice is read from a file, not from standard input: save the recording first.")
    source = Path(recording)
    check_adapts(adapt_steps, source.suffix != VOICE_SUFFIX, recording)
    if source.suffix == VOICE_SUFFIX:
        from edgetts.voice import Voice

        voice = Voice.load(source)
    else:
        from edgetts.audio.io import hash_file
        from edgetts.pack.locate import locate_pack

        hash_file(source)  # a file that cannot be read is told before anything slow
        located = locate_pack(pack or known.pack, known.home)

        from edgetts.api import TTS

        with Progress(enabled=not quiet) as progress:
            progress("opening the pack", 0.0)
            tts = TTS.load(located.path, device=device or known.device or "auto", home=known.home)
            voice = tts.enrol(source, name=name, adapt_steps=adapt_steps, progress=progress)
    path = store.add(name, voice, replace=force)
    if as_json:
        print_json({"name": name, "file": path, "seconds": voice.seconds, "notices": voice.notices})
        return
    if not quiet:
        for notice in voice.notices:
            print_notice(notice)
        print_line(f"Voice {name} is ready ({voice.seconds:.1f} s of speech): use it with --voice {name!r}.")


@app.command("list")
def list_voices(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the voices, one a line."""
    from edgetts.voices_store import VoiceStore

    entries = VoiceStore.default(environment(context).home).entries()
    if as_json:
        print_json({"voices": [{"name": e.name, "file": e.path, "bytes": e.n_bytes} for e in entries]})
        return
    for entry in entries:
        print_line(entry.name)
    if not entries:
        print_notice("There are no voices yet; make one with `edgetts voices add NAME RECORDING`.")


@app.command("show")
def show(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """Show what is known about a voice."""
    from edgetts.voices_store import VoiceStore

    store = VoiceStore.default(environment(context).home)
    voice = store.load(name)
    path = store.path(name)
    about = {
        "name": name,
        "file": path,
        "bytes": path.stat().st_size,
        "seconds": round(voice.seconds, 3),
        "encoder_id": voice.encoder_id,
        "adapt_steps": voice.adapt_steps,
        "notices": voice.notices,
    }
    if as_json:
        print_json(about)
        return
    print_line(f"name        {name}")
    print_line(f"file        {os.fspath(path)} ({about['bytes']} bytes)")
    print_line(f"speech      {voice.seconds:.1f} s")
    print_line(f"encoders    {voice.encoder_id[:12]}")
    if voice.adapt_steps:
        print_line(f"adapted     in {voice.adapt_steps} steps, to S2Mel {voice.adapted_to[:12]}")
    for notice in voice.notices:
        print_line(f"notice      {one_line(notice)}")


@app.command("remove")
def remove(context: typer.Context, names: Annotated[list[str], typer.Argument(metavar="NAME...")]) -> None:
    """Delete voices. The recordings they were made from are not touched."""
    from edgetts.voices_store import VoiceStore

    store = VoiceStore.default(environment(context).home)
    for name in names:
        store.existing(name)  # all of them or none
    for name in names:
        store.remove(name)


@app.command("export")
def export(
    context: typer.Context,
    name: NameArgument,
    target: Annotated[str, typer.Argument(metavar="FILE", help="Voice file to write (.safetensors), or a folder.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Copy a voice to a file that `--voice` and `voices add` read on another machine."""
    from edgetts.audio.encode import atomic_file, check_target
    from edgetts.pack.manifest import VOICE_SUFFIX
    from edgetts.voices_store import VoiceStore

    source = VoiceStore.default(environment(context).home).existing(name)
    path = Path(target)
    if path.is_dir():
        path = path / source.name
    elif path.suffix != VOICE_SUFFIX:
        better = f"{target}{VOICE_SUFFIX}"
        raise UsageError(f"{target} must end in {VOICE_SUFFIX}, by which voice files are known: give {better}.")
    check_target(path)
    if path.exists() and not force:
        raise UsageError(f"{path} exists already; choose another name, or replace it with --force.")
    try:
        with source.open("rb") as origin, atomic_file(path) as copy:
            shutil.copyfileobj(origin, copy)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({(error.strerror or str(error)).lower()}).") from None
    print_line(os.fspath(path))
