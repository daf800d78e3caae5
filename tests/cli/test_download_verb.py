"""`edgetts download`: the question, the words, the next command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub", reason="needs the extra `download`")

from helpers.command import Edgetts
from helpers.fake_hub import MASKGCT, OWN, FakeHub, serve, small_repositories
from helpers.paths import DATA

from edgetts.cli.setup import licenses as verb

MODEL = ("--model", "IndexTTS-2")  # what the hub of the tests has


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serve(FakeHub(small_repositories(DATA / "config" / "mini"))) as running:
        yield running


def test_agreed_by_option(hub: FakeHub, edgetts: Edgetts, tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "my checkpoint"
    result = edgetts("download", *MODEL, folder, "--mirror", hub.url + "/", "--yes")
    assert result.exit_code == 0, result.stderr
    assert "bilibili" in result.stderr
    assert f"{MASKGCT}: cc-by-nc-4.0" in result.stderr
    assert f"note: Fetching gpt.pth of {OWN}." in result.stderr
    command = shlex.split(result.stdout.splitlines()[-1])
    assert command == ["edgetts", "convert", str(folder), str(home / "packs" / "default")]
    assert (folder / "gpt.pth").is_file()

    again = edgetts("download", *MODEL, folder, "--mirror", hub.url)  # agreed to once
    assert again.exit_code == 0, again.stderr
    assert "license" not in again.stderr
    assert "nothing was missing" in again.stdout


def test_default_folder_and_mirror_of_the_environment(
    hub: FakeHub, edgetts: Edgetts, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    (home / "packs" / "default").mkdir(parents=True)
    result = edgetts("download", *MODEL, "-y", "--json", "--quiet")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert Path(answer["folder"]) == home / "checkpoints" / "IndexTTS-2"
    assert answer["commits"][OWN] == hub.commit(OWN)
    assert answer["next"].endswith("packs/indextts2")


def test_from_modelscope_with_what_is_here(
    hub: FakeHub, edgetts: Edgetts, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "cache" / "models--IndexTeam--IndexTTS-2" / "snapshots" / "abc"
    cached.mkdir(parents=True)
    (cached / "gpt.pth").write_bytes(hub.repositories[OWN]["gpt.pth"])
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-secret")
    result = edgetts("download", *MODEL, tmp_path / "c", "--source", "modelscope", "--yes")
    assert result.exit_code == 0, result.stderr
    assert "0.00 GiB are on this machine already and are copied." in " ".join(result.stderr.split())
    assert "see https://www.modelscope.cn/models/amphion/MaskGCT" in result.stderr
    assert {headers.get("authorization") for headers in hub.headers} == {"Bearer ms-secret"}
    assert (tmp_path / "c" / "gpt.pth").read_bytes() == hub.repositories[OWN]["gpt.pth"]


def test_asked(hub: FakeHub, edgetts: Edgetts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "c"
    unasked = edgetts("download", *MODEL, folder, "--mirror", hub.url)
    assert unasked.exit_code == 2
    assert "with --yes" in unasked.stderr
    monkeypatch.setattr(verb, "can_ask", lambda: True)
    declined = edgetts("download", *MODEL, folder, "--mirror", hub.url, input="n\n")
    assert declined.exit_code == 1
    assert declined.stdout.strip() in ("", "n")  # what was typed, at most
    assert declined.stderr.endswith("edgetts: Nothing was downloaded: the licenses were not agreed to.\n")
    assert not folder.exists()
    assert hub.fetched() == []
    assert edgetts("download", *MODEL, folder, "--mirror", hub.url, input="y\n").exit_code == 0


def test_interrupted(hub: FakeHub, edgetts: Edgetts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("edgetts.quant.download._fetch", stop)
        result = edgetts("download", *MODEL, tmp_path, "--mirror", hub.url, "--yes")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "note: Stopped; the same command resumes the download."
    assert edgetts("download", *MODEL, tmp_path, "--mirror", hub.url).exit_code == 0  # the licenses stay agreed to


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (["--mirror", "nowhere"], "is not an address", 2),
        (["--source", "github"], "--source is 'github'; allowed are huggingface and modelscope", 2),
        (["--revision", ""], "--revision is empty", 2),
        (["--mirror", "HUB", "--revision", "v9"], "has no revision 'v9'", 1),
    ],
)
def test_misuse(hub: FakeHub, edgetts: Edgetts, tmp_path: Path, options: list[str], words: str, code: int) -> None:
    result = edgetts(
        "download", *MODEL, tmp_path / "c", *[hub.url if option == "HUB" else option for option in options]
    )
    assert result.exit_code == code
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
    assert not (tmp_path / "c").exists()
