"""Every verb with a mini checkpoint of IndexTTS-2.5, as a user types them, one after the other in one process: checked.

    python tests/families/every_verb.py CHECKPOINT FOLDER    # prints a table in Markdown

`tests/families/test_every_verb.py` runs the same on the checkpoint of the tests.
"""

from __future__ import annotations

import json
import os
import sys
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.command import run_edgetts
from helpers.voices import golden_voice_25

from edgetts.distribution import recipes_folder

TEXTS = {
    "en": "On 3 May 2024 it cost $5, wow!",
    "zh": "今天是2024年5月3日，花了5元。",
    "ja": "今日は2024年5月3日です。",
    "es": "El 3 de mayo de 2024 costó 5 €.",
    "ar": "التاريخ 3 مايو 2024 والسعر 5 دولارات.",
}
MIXED = "Good morning. 早上好。Buenos días, ¿qué tal? <read|R EH1 D> this."
QUICK = ("--steps", 1, "--beams", 1, "--max-codes", 30, "--no-guards", "--seed", 1)


@dataclass
class Verbs:
    """Runs commands, and keeps what came of each. EDGETTS_HOME must be a folder for them."""

    folder: Path
    rows: list[tuple[str, str, float]] = field(default_factory=list)

    def run(self, *arguments: object, said: str = "", exit_code: int = 0, shown: str = "", stdin: bytes = b"") -> bytes:
        """Standard output. AssertionError unless the command ends as it should. said: in what it prints."""
        command, started = f"edgetts {' '.join(map(str, arguments))}", time.perf_counter()
        done = run_edgetts(*arguments, input=stdin)
        printed = (done.stdout_bytes[:100_000] + done.stderr_bytes).decode(errors="replace")
        assert done.exit_code == exit_code, f"{command}: {done.exit_code}, {printed[-2000:]}, {done.exception!r}"
        assert said in printed, f"{command}: {printed[-2000:]}"
        took = time.perf_counter() - started
        self.rows.append((" ".join(map(str, arguments)), shown or _last(printed), took))
        return done.stdout_bytes

    def sound(self, *arguments: object, least_s: float, most_s: float, said: str = "") -> None:
        """A command that writes `sound.wav`, of so many seconds."""
        file = self.folder / "sound.wav"
        file.unlink(missing_ok=True)
        self.run(*arguments, "-o", file, said=said)
        with wave.open(str(file)) as sound:
            seconds = sound.getnframes() / sound.getframerate()
        assert least_s <= seconds <= most_s, f"{arguments}: {seconds} s"
        command, _, took = self.rows.pop()
        self.rows.append((command, f"{seconds:.2f} s of sound", took))


def run_all(checkpoint: Path, folder: Path, recipes: Iterator[str] | None = None) -> list[tuple[str, str, float]]:
    """Run everything; returns command, result and seconds of each. Raises AssertionError at the first that fails."""
    verbs, pack, voice = Verbs(folder), folder / "mini25.pack", folder / "golden.safetensors"
    verbs.run("convert", checkpoint, pack, said="ready for")
    golden_voice_25(pack).save(voice)
    verbs.run("info", pack, said="indextts-2.5")
    verbs.run("info", pack, "--verify", said="all checksums match")
    verbs.run("info", pack, "--memory", said="measured: the process held")
    verbs.run("validate", pack)
    verbs.run("warmup", "--pack", pack)
    _voices(verbs, pack, voice)
    for language in TEXTS:
        _language(verbs, pack, language)
    say = ("say", "--pack", pack, "--voice", "golden", *QUICK)
    verbs.sound(*say, MIXED, least_s=0.5, most_s=8, said="The text is spoken as")
    streamed = verbs.run(*say, MIXED, "--raw", "--chunks", "8,12", "--quiet", shown="raw samples")
    assert len(streamed) > 20_000
    verbs.run(*say, "--raw", "-", "--quiet", stdin="Hello there. 你好。".encode(), shown="text from a pipe")
    for text in ("", "   ", "!?", "..."):
        verbs.run(*say, text, "--raw", exit_code=2, said="nothing to speak")
    verbs.run("say", "--pack", pack, "--voice", "golden", "--lang", "fr", "x", exit_code=2, said="language is 'fr'")
    bench = ("bench", "--pack", pack, "--no-enroll", "--seconds", 0.5, "--prompt-seconds", 0.5, "--repeats", 1)
    verbs.run(*bench, "--compare", "reference", said="IndexTTS-2.5")
    verbs.run("doctor", "--pack", pack)
    _served(verbs, pack)
    for recipe in recipes or sorted(file.stem for file in recipes_folder().glob("*.toml")):
        made = folder / f"{recipe}.pack"
        verbs.run("quantize", pack, made, "--recipe", recipe, "--voice", voice, "--no-report", said="ready for")
        verbs.run("validate", made)
        verbs.sound("say", "--pack", made, "--voice", voice, *QUICK, TEXTS["en"], least_s=0.3, most_s=3)
    return verbs.rows


def _voices(verbs: Verbs, pack: Path, voice: Path) -> None:
    verbs.run("voices", "add", "golden", voice, said="is ready")
    verbs.run("voices", "add", "ana", voice, "--lang", "es", said="is ready")
    assert b"ana (es)\n" in verbs.run("voices", "list", "--pack", pack)
    about = json.loads(verbs.run("voices", "show", "ana", "--json"))
    assert about["language"] == "es"
    spanish = ("say", "--pack", pack, *QUICK, TEXTS["es"], "--raw", "--quiet")
    ana = verbs.run(*spanish, "--voice", "ana", shown="the same as with --lang es")
    assert ana == verbs.run(*spanish, "--voice", "golden", "--lang", "es", shown="the same")
    verbs.run("voices", "export", "ana", verbs.folder / "exported.safetensors")
    verbs.run("voices", "remove", "ana")


def _language(verbs: Verbs, pack: Path, language: str) -> None:
    """In one piece and streamed; slower and faster."""
    say = ("say", "--pack", pack, "--voice", "golden", "--lang", language, *QUICK, TEXTS[language])
    whole = verbs.run(*say, "--raw", "--quiet", "--chunks", "whole", shown="raw samples")
    for chunks in ("8", "5,9,20"):
        parts = verbs.run(*say, "--raw", "--quiet", "--chunks", chunks, shown="as long as the whole")
        assert len(parts) == len(whole), (language, chunks)
    for factor in (0.5, 2):
        scaled = verbs.run(*say, "--raw", "--quiet", "--duration-factor", factor, shown=f"{factor} times as long")
        assert abs(len(scaled) / len(whole) - factor) < 0.05, (language, factor)


def _served(verbs: Verbs, pack: Path) -> None:
    """A daemon that speaks for HTTP clients, and for `edgetts say`."""
    from helpers.daemon import QUICK as OPTIONS
    from helpers.daemon import home_of, running

    started = time.perf_counter()
    with running(home_of(verbs.folder / "served", pack), pack) as daemon:
        for language, text in TEXTS.items():
            answer = daemon.client.post(
                "/v1/audio/speech",
                json={
                    "input": text,
                    "voice": "golden",
                    "language": language,
                    "response_format": "wav",
                    "options": OPTIONS,
                },
            )
            assert answer.status_code == 200, answer.text
            assert len(answer.content) > 10_000
        assert [each["language"] for each in daemon.client.get("/v1/voices").json()["data"]] == [None]
    verbs.rows.append(("serve", "five languages by HTTP", time.perf_counter() - started))


def _last(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return lines[-1][:100] if lines else ""


def table(rows: list[tuple[str, str, float]], folder: Path, row: Callable[[str], str] = str) -> str:
    """In Markdown, without the folder's path."""
    lines = ["| command | what came of it | s |", "|---|---|---|"]
    for command, result, took in rows:
        cells = (row(each.replace(f"{folder}/", "").replace("|", "\\|")) for each in (command, result))
        lines.append(f"| `{next(cells)}` | {next(cells)} | {took:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    place = Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    os.environ["EDGETTS_HOME"] = str(place / "home")
    print(table(run_all(Path(sys.argv[1]), place), place))
