"""What `edgetts setup` has to know: model, recipe, voice; from flags, or asked of a person.

In: the values of flags, and whether somebody can be asked. Out: checked values, before anything slow is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgetts.cli.hubs import SOURCES
from edgetts.cli.setup import ask
from edgetts.cli.setup.ask import tell
from edgetts.errors import UsageError
from edgetts.pack.entries import VOICE_SUFFIX

if TYPE_CHECKING:
    from edgetts.families import Family


def folder_of(source: str) -> Path | None:
    """The user's checkpoint folder, if --source is none of the hubs. Raises UsageError."""
    if source in SOURCES:
        return None
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise UsageError(f"--source is {source!r}; allowed are {', '.join(SOURCES)}, or a folder with a checkpoint.")
    return folder


def check_voice(voice: Path | None, name: str | None) -> str | None:
    """The name of the voice to learn, before anything slow. Raises UsageError, AudioError, VoiceError."""
    from edgetts.voices.names import check_name as check_voice_name

    if voice is None:
        return None if name is None else check_voice_name(name)
    if voice.suffix == VOICE_SUFFIX:
        from edgetts.voices.voice import Voice

        Voice.load(voice)
    else:
        from edgetts.voices.learning import take_of

        take_of(voice)
    if name is not None:
        return check_voice_name(name)
    try:
        return check_voice_name(voice.stem)
    except UsageError:
        return "me"


def choose_family_of(model: str | None, folder: Path | None, *, asks: bool) -> Family:
    from edgetts.families import FAMILIES
    from edgetts.quant.download import choose_family

    found = choose_family(folder, model)
    if not asks or model is not None or folder is not None:
        return found
    titles = [family.title for family in reversed(FAMILIES.values())]
    about = {
        "IndexTTS-2.5": "newest, Chinese, English, Japanese, Spanish and Arabic, faster",
        "IndexTTS-2": "Chinese and English, which some prefer for its timbre and emotion",
    }
    tell("Which model?")
    for number, title in enumerate(titles, 1):
        tell(f"  {number}  {title}{': ' + about[title] if title in about else ''}", indent="     ")
    return choose_family(None, ask.choose("Number or name", titles, found.title))


def choose_recipe_of(suggested: str, reason: str, *, asks: bool) -> str:
    """The recipe to use; reason: of the suggestion, the end of a sentence."""
    from edgetts.quant.recipe import load_recipe, recipe_names

    if not asks:
        return suggested
    tell(f"Which recipe, which says how the model is stored? {suggested} is for this machine, because {reason}.")

    def read(answer: str) -> str:
        if answer in ("?", "list"):
            raise UsageError("There are " + ", ".join(recipe_names()) + ".")
        load_recipe(answer)
        return answer

    return ask.ask("Name (? lists them)", suggested, read)


def ask_voice(name: str | None) -> tuple[Path | None, str | None]:
    """A recording to learn, and the name of the voice; both None for none."""
    tell(
        "A recording of the voice that shall speak, 5 to 15 s of clear speech of one person (WAV, FLAC, OGG or MP3)? "
        "Use only voices that you may use. Empty: later; then the voice of the built-in model speaks."
    )
    found: list[Path] = []

    def read(answer: str) -> str:
        found.clear()
        if answer:
            path = Path(answer.strip("'\"")).expanduser()
            found.append(path)
            return check_voice(path, None) or ""
        return ""

    stem = ask.ask("File", "", read)
    if not found:
        return None, name
    from edgetts.voices.names import check_name as check_voice_name

    return found[0], name or ask.ask("Name of this voice", stem, check_voice_name)
