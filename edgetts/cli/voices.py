"""`edgetts voices`: manages named voices, the user's own and the pack's."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from edgetts.cli import complete
from edgetts.cli.common import (
    STDIO,
    AdaptStepsOption,
    DeviceOption,
    JsonOption,
    MatchSpectrumOption,
    PackOption,
    ProgressBar,
    QuietOption,
    check_learns,
    environment,
    importing,
    print_json,
    print_line,
    print_notice,
)
from edgetts.cli.environment import Environment
from edgetts.errors import PackError, UsageError, VoiceError, one_line

app = typer.Typer(
    help="Keep voices under names: enroll a recording once, then use it with `--voice NAME`.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the voice.", autocompletion=complete.voices)]
StoredNames = Annotated[list[str], typer.Argument(metavar="NAME...", autocompletion=complete.own_voices)]


@app.callback()
def voices(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("add")
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the voice.")],
    recording: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A recording (WAV, FLAC, OGG or MP3; 5 to 15 s of clear speech are best) or a voice file.",
        ),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Replace a voice of that name, or hide one of the pack's own.")
    ] = False,
    as_is: Annotated[
        bool,
        typer.Option("--as-is", help="Use the first 15 s, as upstream does, instead of the 15 s with the most speech."),
    ] = False,
    language: Annotated[
        str | None,
        typer.Option(
            *("--lang", "--language"),
            metavar="CODE",
            help="Language of its texts where none is given: zh, en, ja, es or ar. [found sentence by sentence]",
        ),
    ] = None,
    adapt_steps: AdaptStepsOption = None,
    match_spectrum: MatchSpectrumOption = None,
    pack: PackOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Learn a voice from a recording and keep it under a name.

    Examples:

        edgetts voices add anna interview.mp3

        edgetts voices add ana entrevista.mp3 --lang es
    """
    from edgetts.pack.entries import VOICE_SUFFIX
    from edgetts.voices.store import VoiceStore

    known = environment(context)
    store = VoiceStore.default(known.home)
    store.check_new(name, replace=force)
    if not force and name in ready_voices(known, pack):
        raise UsageError(f"{name!r} is a voice of the pack: choose another name, or hide that voice with --force.")
    if recording == STDIO:
        raise UsageError("A voice is read from a file, not from standard input: save the recording first.")
    source = Path(recording)
    check_learns(adapt_steps, match_spectrum, source.suffix != VOICE_SUFFIX, recording)
    if language is not None:
        from edgetts.voices.description import check_language

        check_language(language)
    if source.suffix == VOICE_SUFFIX:
        from edgetts.voices.voice import Voice

        voice = Voice.load(source)
    else:
        from edgetts.pack.locate import locate_pack

        with importing():
            from edgetts.voices.learning import take_of

        take = take_of(source, as_is=as_is)  # an unusable file is reported before anything slow
        located = locate_pack(pack or known.pack, known.home)

        from edgetts.api import TTS

        with ProgressBar(enabled=not quiet) as progress:
            progress("opening the pack", 0.0)
            tts = TTS.load(located.path, device=device or known.device or "auto", home=known.home)
            tell = None if quiet else print_notice
            if language is not None:
                from edgetts.planner import spoken_language

                spoken_language(tts.frontend(), language)
            voice = tts.voice(
                take, adapt_steps=adapt_steps, match_spectrum=match_spectrum, progress=progress, tell=tell
            )
    if language is not None:
        voice = dataclasses.replace(voice, language=language)
    path = store.add(name, voice, replace=force)
    if as_json:
        about = {"name": name, "file": path, "seconds": voice.seconds, "language": voice.language}
        print_json({**about, "notices": voice.notices})
        return
    if not quiet:
        for notice in voice.notices:
            print_notice(notice)
        print_line(f"Voice {name} is ready ({voice.seconds:.1f} s of speech): use it with --voice {name!r}.")


@app.command("list")
def list_voices(context: typer.Context, pack: PackOption = None, as_json: JsonOption = False) -> None:
    """List the voices, one a line, with their languages if they are set to one: your own, then the pack's."""
    from edgetts.voices.description import language_in
    from edgetts.voices.store import VoiceStore

    known = environment(context)
    entries = VoiceStore.default(known.home).entries()
    names = {entry.name for entry in entries if not entry.problem}
    ready = {name: file for name, file in ready_voices(known, pack).items() if name not in names}
    rows = []
    for entry in entries:
        language, problem = None, entry.problem
        if not problem:
            try:
                language = language_in(entry.path)
            except VoiceError as error:
                problem = str(error)
        row = {"name": entry.name, "file": entry.path, "bytes": entry.n_bytes, "builtin": False, "language": language}
        rows.append({**row, "problem": problem or None})
    for name, file in ready.items():
        row = {"name": name, "file": file, "bytes": file.stat().st_size if file.is_file() else 0, "builtin": True}
        rows.append({**row, "language": language_in(file) if file.is_file() else None, "problem": None})
    if as_json:
        print_json({"voices": rows})
        return
    for row in rows:
        if row["problem"]:
            print_notice(str(row["problem"]))
        else:
            marks = [str(row["language"])] * (row["language"] is not None) + ["built-in"] * bool(row["builtin"])
            print_line(one_line(str(row["name"])) + (f" ({', '.join(marks)})" if marks else ""))
    if not entries:
        print_notice("You have no voices of your own yet; make one with `edgetts voices add NAME RECORDING`.")


@app.command("show")
def show(context: typer.Context, name: NameArgument, pack: PackOption = None, as_json: JsonOption = False) -> None:
    """Show the properties of a voice."""
    from edgetts.voices.voice import Voice

    path, is_builtin = _find(context, name, pack)
    voice = Voice.load(path)
    about = {
        "name": name,
        "file": path,
        "bytes": path.stat().st_size,
        "builtin": is_builtin,
        "seconds": round(voice.seconds, 3),
        "encoder_id": voice.encoder_id,
        "language": voice.language,
        "adapt_steps": voice.adapt_steps,
        "match_spectrum": voice.mel_map is not None,
        "level_db": voice.level_db,
        "notices": voice.notices,
    }
    if as_json:
        print_json(about)
        return
    lines = [
        ("name", f"{name} (built-in)" if is_builtin else name),
        ("file", f"{os.fspath(path)} ({about['bytes']} bytes)"),
        ("speech", f"{voice.seconds:.1f} s"),
        ("encoders", voice.encoder_id[:12]),
        ("language", voice.language or "found for each sentence"),
    ]
    if voice.adapt_steps:
        lines.append(("adapted", f"in {voice.adapt_steps} steps, to S2Mel {voice.adapted_to[:12]}"))
    if voice.mel_map is not None:
        lines.append(("spectrum", f"matched to the recording, for S2Mel {voice.adapted_to[:12]}"))
    if voice.level_db is not None:
        lines.append(("level", f"{voice.level_db:.1f} dB, evened where the pack has a level of speech"))
    for label, text in [*lines, *(("notice", notice) for notice in voice.notices)]:
        print_line(f"{label:<12}{one_line(text)}")  # text of a voice file may have control characters


def _find(context: typer.Context, name: str, pack: str | None) -> tuple[Path, bool]:
    """The file of a voice, and whether it is the pack's. Raises VoiceError if there is none."""
    from edgetts.voices.store import VoiceStore

    known = environment(context)
    store = VoiceStore.default(known.home)
    ready = ready_voices(known, pack)
    if name in ready and not store.has(name):
        return ready[name], True
    return store.existing(name, others=ready), False


@app.command("remove")
def remove(context: typer.Context, names: StoredNames) -> None:
    """Delete voices. The recordings they were made from are not touched."""
    from edgetts.voices.store import VoiceStore

    known = environment(context)
    store = VoiceStore.default(known.home)
    stored = {entry.name for entry in store.entries()}
    for name in names:
        if name not in stored and name in ready_voices(known, None):
            raise VoiceError(f"{name!r} is a voice of the pack and cannot be removed.")
        store.removable(name)  # raises before any is removed
    for name in names:
        store.remove(name)


@app.command("export")
def export(
    context: typer.Context,
    name: NameArgument,
    target: Annotated[str, typer.Argument(metavar="FILE", help="Voice file to write (.safetensors), or a folder.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    pack: PackOption = None,
) -> None:
    """Copy a voice to a file that `--voice` and `voices add` read on another machine."""
    from edgetts.audio.formats import check_target
    from edgetts.files import atomic_file
    from edgetts.pack.entries import VOICE_SUFFIX
    from edgetts.voices.store import is_voice_file

    source, _ = _find(context, name, pack)
    path = Path(target)
    if path.is_dir():
        path = path / source.name
    elif path.suffix != VOICE_SUFFIX:
        better = f"{target}{VOICE_SUFFIX}"
        raise UsageError(f"{target} is not a file name for a voice: it must end in {VOICE_SUFFIX}; give {better}.")
    check_target(path)
    if path.exists() and not force:
        raise UsageError(f"{path} exists already; choose another name, or replace it with --force.")
    if path.exists() and path.stat().st_size and not is_voice_file(path.resolve()):
        raise UsageError(f"{path} is not a voice file, so it is left alone: delete it yourself, or give another name.")
    try:
        with source.open("rb") as origin, atomic_file(path) as copy:
            shutil.copyfileobj(origin, copy)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({(error.strerror or str(error)).lower()}).") from None
    print_line(os.fspath(path))


def ready_voices(known: Environment, pack: str | None) -> dict[str, Path]:
    """Voices of the pack, by name; empty if no pack was named and there is none.

    Raises PackError if the pack cannot be used.
    """
    from edgetts.pack.locate import locate_pack
    from edgetts.pack.manifest import read_manifest

    wanted = pack or known.pack
    try:
        folder = locate_pack(wanted, known.home).path
    except PackError:
        if wanted is not None:
            raise
        return {}
    return {name: folder / file for name, file in read_manifest(folder).ready_voices().items()}
