"""`edgetts setup` from nothing to speech, against a hub on this machine: each family, each source, each interruption."""

from __future__ import annotations

import dataclasses
import json
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub", reason="needs the extra `download`")

from helpers.command import Edgetts
from helpers.fake_hub import OWN, OWN_25, FakeHub, repositories_of, serve
from helpers.voices import voice_for
from typer.testing import Result

from edgetts.cli.setup import ask, plan
from edgetts.pack.default_pack import read_default
from edgetts.pack.locate import locate_pack
from edgetts.pack.manifest import read_manifest


@pytest.fixture(scope="session")
def published(mini_checkpoint: Path, mini_checkpoint_25: Path) -> dict[str, dict[str, bytes]]:
    """What the hub has: both families at mini size."""
    return {**repositories_of(mini_checkpoint_25, OWN_25), **repositories_of(mini_checkpoint)}


@pytest.fixture
def hub(published: dict[str, dict[str, bytes]], home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr("edgetts.quant.hub.RETRY_WAIT_S", 0.0)
    with serve(FakeHub({name: dict(files) for name, files in published.items()})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(home.parent / "no-cache"))
        yield running


Setup = Callable[..., Result]


@pytest.fixture
def setup(edgetts: Edgetts, recipe: Path) -> Setup:
    """`edgetts setup` with a quick recipe."""
    return lambda *words, **options: edgetts("setup", "--recipe", recipe, *words, **options)


@pytest.mark.parametrize("title", ["IndexTTS-2", "IndexTTS-2.5"])
@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_from_nothing_to_speech(
    hub: FakeHub, setup: Setup, home: Path, tmp_path: Path, title: str, source: str
) -> None:
    words = ("--model", title, "--source", source, "--yes", "--accept-license")
    first = setup(*words)
    assert first.exit_code == 0, first.stderr
    pack = home / "packs" / f"{title.lower()}-quick"
    assert read_manifest(pack).recipe == "quick" and read_default(home) == pack.name
    assert locate_pack(None, home).path == pack
    assert "there is no voice yet" in first.stderr  # a pack of this size cannot learn one

    voice, sound = voice_for(pack, tmp_path / "anna.safetensors"), tmp_path / "hello.wav"
    fetched = len(hub.requests)
    second = setup(*words, "--voice", voice, "-o", sound, "--say", "Hello.", "--json")
    assert second.exit_code == 0, second.stderr
    assert len(hub.requests) == fetched  # nothing was asked again
    told = json.loads(second.stdout)
    states = {step["name"]: step["state"] for step in told["steps"]}
    assert states == {
        **{"download": "skipped", "quantize": "was there", "default": "was there"},
        **{"warm up": "done", "voice": "done", "speak": "done"},
    }
    assert told["model"] == title and told["pack"] == str(pack) and told["pack_exists"]
    with wave.open(str(sound)) as file:
        assert file.getnframes() > 1000
    third = setup(*words, "--voice", voice, "-o", sound, "--say", "Hello.", "--json")
    assert {step["name"]: step["state"] for step in json.loads(third.stdout)["steps"]}["voice"] == "was there"


def test_the_plan_comes_first_and_changes_nothing(hub: FakeHub, setup: Setup, home: Path) -> None:
    result = setup("--model", "IndexTTS-2", "--dry-run")
    assert result.exit_code == 0, result.stderr
    text = " ".join(result.stderr.split())
    for words in (
        "This machine: ",
        "Model: IndexTTS-2; recipe: quick",
        f"from {hub.url} to ",
        "less than a minute at 50 Mbit/s",
        "quantize at most ",
        "GiB are free",
    ):
        assert words in text, words
    assert not home.exists() and hub.fetched() == []
    table = json.loads(setup("--model", "IndexTTS-2", "--dry-run", "--json", "--quiet").stdout)
    assert table["dry_run"] and table["download_bytes"] > 1_000_000 and not table["pack_exists"]
    assert not home.exists()


def test_a_dry_run_needs_no_network(setup: Setup, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(FakeHub({})) as gone:
        pass
    result = setup("--dry-run", "--mirror", gone.url)
    assert result.exit_code == 0 and "cannot be reached" in result.stderr and "size not known" in result.stderr
    assert setup("--yes", "--accept-license", "--mirror", gone.url).exit_code == 1
    assert not home.exists()


def test_the_license_is_shown_and_taken(hub: FakeHub, setup: Setup, home: Path) -> None:
    result = setup("--model", "IndexTTS-2", "--yes")
    assert result.exit_code == 2 and not home.exists() and hub.fetched() == []
    assert "run the same command with --accept-license if you do" in result.stderr
    for words in (
        "Model Use License Agreement",
        "https://github.com/index-tts/index-tts/blob/main/LICENSE",
        "100 million users",
        "cc-by-nc-4.0",
    ):
        assert words in " ".join(result.stderr.split())
    assert all(len(line) <= 100 for line in result.stderr.splitlines() if "/" not in line and "edgetts:" not in line)


@pytest.mark.parametrize("words", [(), ("--model", "IndexTTS-2"), ("--accept-license",), ("--json",)])
def test_without_a_terminal_it_says_what_it_needs(setup: Setup, home: Path, words: tuple[str, ...]) -> None:
    result = setup(*words, input="y\n" * 20)
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert "there is no terminal to ask at: give --yes" in result.stderr and "--accept-license" in result.stderr
    assert not home.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "GPT-4"), "'GPT-4' is unknown: there are IndexTTS-2.5 and IndexTTS-2"),
        (("--source", "nowhere"), "--source is 'nowhere'; allowed are huggingface, modelscope, or a folder"),
        (("--recipe", "nope"), "Unknown recipe 'nope'"),
        (("--voice", "none.wav"), "none.wav"),
        (("--voice-name", "a/b"), "not a valid name of a voice"),
        (("-o", "/no/such/folder/x.wav"), "/no/such/folder"),
        (("--mirror", "nowhere"), "is not an address"),
        (("--name", "../x"), "is not a name for a pack"),
        (("--name", ""), "is not a name for a pack"),
    ],
)
def test_misuse_before_anything_slow(
    hub: FakeHub, setup: Setup, home: Path, words: tuple[str, ...], message: str
) -> None:
    result = setup("--model", "IndexTTS-2", "--yes", "--accept-license", "--quiet", *words)
    assert result.exit_code in (1, 2) and message in result.stderr, result.stderr
    assert len(result.stderr.splitlines()) == 1 and not home.exists()


def test_a_full_disk_is_said_before(hub: FakeHub, setup: Setup, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "free_bytes", lambda _: 300_000_000)
    result = setup("--model", "IndexTTS-2", "--yes", "--accept-license", "--quiet")
    assert result.exit_code == 1 and not home.exists() and hub.fetched() == []
    assert (
        "to download, " in result.stderr
        and "but the disk has 0.28 GiB free: make room, or set EDGETTS_HOME" in result.stderr
    )


@pytest.mark.parametrize(
    "where", ["edgetts.quant.download._fetch", "edgetts.quant.build.plan_bytes", "edgetts.bench.warm.warm"]
)
def test_ctrl_c_leaves_whole_things(
    hub: FakeHub, setup: Setup, home: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    words = ("--model", "IndexTTS-2", "--yes", "--accept-license")
    with monkeypatch.context() as patch:
        patch.setattr(where, stop)
        stopped = setup(*words)
    assert stopped.exit_code == 130
    assert stopped.stderr.splitlines()[-1] == "note: Stopped; the same command goes on where it stopped."
    done = setup(*words[:3])  # the license was agreed to
    assert done.exit_code == 0, done.stderr
    visible = [path.name for path in (home / "packs").iterdir()]
    assert visible == ["indextts-2-quick"]


def test_a_checkout_and_a_hub_cache_are_used(
    hub: FakeHub, setup: Setup, home: Path, mini_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = setup("--source", mini_checkpoint, "--yes", "--accept-license")
    assert whole.exit_code == 0, whole.stderr
    assert hub.requests == [] and not (home / "checkpoints").exists()
    assert f"complete in {mini_checkpoint}" in " ".join(whole.stderr.split())

    part = tmp_path / "part"
    part.mkdir()
    for name in ("config.yaml", "gpt.pth"):
        (part / name).symlink_to(mini_checkpoint / name)
    result = setup("--source", part, "--yes", "--accept-license", "--name", "second")
    assert result.exit_code == 0, result.stderr
    assert "GiB copied from this machine" in " ".join(result.stderr.split())
    assert not [path for path, _ in hub.requests if "/cdn/" in path and path.endswith("gpt.pth")]
    assert {path.name for path in part.iterdir()} == {"config.yaml", "gpt.pth"}

    requests = len(hub.requests)
    cache = tmp_path / "cache"
    snapshot = cache / f"models--{OWN.replace('/', '--')}" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(mini_checkpoint)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    (home / "checkpoints").rename(tmp_path / "away")
    cached = setup("--model", "IndexTTS-2", "--yes", "--accept-license", "--name", "third")
    assert cached.exit_code == 0, cached.stderr
    assert len(hub.requests) == requests and f"complete in {snapshot}" in " ".join(cached.stderr.split())


def test_another_pack_in_the_place(hub: FakeHub, setup: Setup, home: Path, mini_pack: Path) -> None:
    (home / "packs").mkdir(parents=True)
    (home / "packs" / "mine").symlink_to(mini_pack)
    result = setup("--model", "IndexTTS-2", "--yes", "--accept-license", "--name", "mine", "--quiet")
    assert (
        result.exit_code == 2
        and "of another kind (IndexTTS-2, recipe reference-fp32): give another --name" in result.stderr
    )


def test_questions_and_wrong_answers(hub: FakeHub, setup: Setup, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "can_ask", lambda: True)
    monkeypatch.setattr("edgetts.cli.setup.licenses.can_ask", lambda: True)
    answers = ["7", "indextts-3", "indextts-2", "nowhere.wav", "", "what", "y", "n"]
    result = setup(input="\n".join(answers) + "\n")
    text = " ".join(result.stderr.split())
    assert "'7' is none of them: answer 1 to 2, or IndexTTS-2.5 or IndexTTS-2." in text
    assert "'indextts-3' is none of them" in text and "nowhere.wav" in text
    assert "'what' is neither yes nor no: answer y or n." in text
    assert result.exit_code == 2 and result.stderr.endswith("edgetts: Nothing was changed.\n")
    assert not home.exists()

    declined = setup(input="2\n\nn\n")
    assert declined.exit_code == 1 and "the licenses were not agreed to" in declined.stderr and not home.exists()
    ended = setup(input="2\n")
    assert ended.exit_code == 2 and "The questions were not answered, so nothing was changed" in ended.stderr


def test_the_machine_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgetts.cli.setup import look as module
    from edgetts.quant.machine import Machine

    board = tmp_path / "model"
    board.write_text("NVIDIA Jetson Orin Nano Developer Kit\0")
    monkeypatch.setattr(module, "_BOARD", board)
    machine = module.look(tmp_path / "not" / "yet", Machine(True, "Orin", 8 << 30, True))
    assert machine.line.startswith("NVIDIA Jetson Orin Nano Developer Kit; ") and "Orin (8.0 GiB)" in machine.line
    assert machine.disk_bytes > 0 and machine.n_cores >= 1
    nothing = dataclasses.replace(machine, board=None, gpu=None, memory_bytes=0)
    assert "no CUDA device" in nothing.line and "memory" not in nothing.line
