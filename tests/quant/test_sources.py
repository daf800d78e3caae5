"""Both sources of a checkpoint, Hugging Face and ModelScope, in a bad hour: each fault ends with the files whole, or
with its sentence and nothing that could be taken for a whole file."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.downloads import SOURCES, TOKEN, Source, is_whole, names, plan
from helpers.fake_hub import BIGVGAN, CAMPPLUS, MASKGCT, OWN, FakeHub, serve

pytest.importorskip("huggingface_hub", reason="needs the extra `download`")

from edgetts.errors import DownloadError
from edgetts.quant import hub as hub_module
from edgetts.quant.download import download
from edgetts.quant.download_folder import PARTS_FOLDER
from edgetts.quant.download_record import RECORD_FILE
from edgetts.quant.hub import Hub
from edgetts.quant.modelscope import ModelScope
from edgetts.quant.part_file import PART_SUFFIX

INTERRUPTIONS = 10
LARGE = 2_000_000  # bytes of a file that is interrupted ten times


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited for, at once."""
    seen: list[float] = []
    defaults = Hub.fetch.__defaults__
    assert defaults is not None
    monkeypatch.setattr(Hub.fetch, "__defaults__", (seen.append, *defaults[1:]))
    return seen


def refused(hub: FakeHub, source: Source, folder: Path) -> str:
    """The sentence; the folder holds whole files only."""
    with pytest.raises(DownloadError) as caught:
        download(plan(hub, source, folder))
    published = {hashlib.sha256(data).digest() for files in hub.repositories.values() for data in files.values()}
    for path in folder.rglob("*"):
        if path.is_file() and path.name != RECORD_FILE and path.suffix != PART_SUFFIX:
            assert hashlib.sha256(path.read_bytes()).digest() in published, path
    assert "\n" not in str(caught.value) and TOKEN not in str(caught.value)
    return str(caught.value)


def test_all_of_it(hub: FakeHub, source: Source, tmp_path: Path) -> None:
    done = download(plan(hub, source, tmp_path))
    assert names(tmp_path) == {RECORD_FILE, *done.fetched} and is_whole(hub, tmp_path)
    assert {"hf_cache/campplus_cn_common.bin", "hf_cache/w2v-bert-2.0/model.safetensors"} < set(done.fetched)
    again = plan(hub, source, tmp_path)
    assert again.agreed and download(again).fetched == ()


def test_what_one_source_fetched_the_other_takes(hub: FakeHub, tmp_path: Path) -> None:
    download(plan(hub, ModelScope, tmp_path))
    again = plan(hub, Hub, tmp_path)
    assert again.missing == () and not again.agreed  # other pages declare the licenses
    assert (
        "see https://www.modelscope.cn/models/iic/speech_campplus" in plan(hub, ModelScope, tmp_path).licenses[CAMPPLUS]
    )


def test_ten_broken_connections(hub: FakeHub, source: Source, tmp_path: Path) -> None:
    hub.repositories[OWN]["gpt.pth"] = os.urandom(LARGE)
    hub.cut["gpt.pth"] = [LARGE // 12] * INTERRUPTIONS
    download(plan(hub, source, tmp_path))
    assert is_whole(hub, tmp_path)
    assert len([path for path, _ in hub.requests if "/cdn/" in path and path.endswith("gpt.pth")]) == INTERRUPTIONS + 1


def test_ten_killed_runs(hub: FakeHub, source: Source, tmp_path: Path) -> None:
    """Each run gets a little further, and fetches only what is missing."""
    hub.repositories[OWN]["gpt.pth"] = os.urandom(LARGE)
    left = [plan(hub, source, tmp_path).fetch_bytes]
    for _ in range(INTERRUPTIONS):
        hub.cut["gpt.pth"] = [LARGE // 12]

        def stop(what: str, done: int, total: int, seen: list[int] = []) -> None:  # noqa: B006
            if what.startswith("gpt.pth"):
                seen.append(done)
                if done > seen[0]:  # the first is what was there
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            download(plan(hub, source, tmp_path), progress=stop)
        assert not (tmp_path / "gpt.pth").exists()
        hub.cut.clear()
        left.append(plan(hub, source, tmp_path).fetch_bytes)
    assert left == sorted(set(left), reverse=True)
    before = len(hub.requests)
    download(plan(hub, source, tmp_path))
    assert is_whole(hub, tmp_path)
    assert all(given != "bytes=0-" for path, given in hub.requests[before:] if path.endswith("gpt.pth"))


def test_a_wrong_checksum(hub: FakeHub, source: Source, tmp_path: Path) -> None:
    hub.corrupt.add("gpt.pth")
    words = refused(hub, source, tmp_path)
    assert f"gpt.pth of {OWN} is not what was published (its checksum is not sha256:" in words and hub.url in words
    assert not list((tmp_path / PARTS_FOLDER).glob("*.part"))
    hub.corrupt.clear()
    download(plan(hub, source, tmp_path))
    assert is_whole(hub, tmp_path)


@pytest.mark.parametrize(
    ("key", "status", "words"),
    [
        (OWN, 401, ("HTTP 401", "TOKEN")),
        ("gpt.pth", 401, ("HTTP 401", "TOKEN")),
        (OWN, 403, ("refuses IndexTeam/IndexTTS-2 (HTTP 403)", "/IndexTeam/IndexTTS-2 asks for agreement")),
        ("gpt.pth", 403, ("HTTP 403", "/IndexTeam/IndexTTS-2 asks for agreement")),
        (OWN, 404, ("has no IndexTeam/IndexTTS-2 (HTTP 404)", "check the address of the mirror")),
        ("gpt.pth", 404, ("has no gpt.pth of IndexTeam/IndexTTS-2 (HTTP 404)",)),
        (OWN, 500, ("failed with HTTP 500 for IndexTeam/IndexTTS-2", "run the command again later")),
        ("gpt.pth", 500, ("failed with HTTP 500 for gpt.pth", "run the command again later")),
        ("gpt.pth", 503, ("failed with HTTP 503",)),
        (OWN, 429, ("limits the rate (HTTP 429)", "again in some minutes")),
        ("gpt.pth", 429, ("limits the rate (HTTP 429)", "again in some minutes")),
    ],
)
def test_statuses(
    hub: FakeHub, source: Source, tmp_path: Path, key: str, status: int, words: tuple[str, ...], waits: list[float]
) -> None:
    hub.refuse[key] = (status, "")
    found = refused(hub, source, tmp_path)
    assert all(word in found for word in words), found
    if key == OWN:
        assert names(tmp_path) == set()
    hub.refuse.clear()
    download(plan(hub, source, tmp_path))
    assert is_whole(hub, tmp_path)


@pytest.mark.parametrize("key", [OWN, "gpt.pth"])
def test_a_gated_repository_is_named_with_its_link(hub: FakeHub, tmp_path: Path, key: str) -> None:
    hub.refuse[key] = (403, "GatedRepo")
    words = refused(hub, Hub, tmp_path)
    assert "given only to those who agreed to its terms (HTTP 403)" in words
    assert f"agree on https://huggingface.co/{OWN}, then `hf auth login` or set HF_TOKEN" in words


@pytest.mark.parametrize("times", [1, 2])
def test_a_short_wait_is_taken_as_asked(
    hub: FakeHub, source: Source, tmp_path: Path, times: int, waits: list[float]
) -> None:
    hub.refuse["gpt.pth"], hub.refuse_times["gpt.pth"], hub.retry_after = (429, ""), times, "45"
    said: list[str] = []
    download(plan(hub, source, tmp_path), progress=lambda what, *_: said.append(what))
    assert is_whole(hub, tmp_path)
    assert sum(waits) == 45.0 * times and max(waits) <= 10.0  # in steps, so that it can be stopped
    assert f"gpt.pth of {OWN}: waiting 45 s, as the hub asks" in said


@pytest.mark.parametrize(("after", "words"), [("3600", "again in 60 minutes"), ("301", "again in 6 minutes")])
def test_a_long_wait_is_told(
    hub: FakeHub, source: Source, tmp_path: Path, after: str, words: str, waits: list[float]
) -> None:
    hub.refuse["gpt.pth"], hub.retry_after = (429, ""), after
    assert words in refused(hub, source, tmp_path) and waits == []


@pytest.mark.parametrize("after", ["Wed, 21 Oct 2026 07:28:00 GMT", "-5", "1e9", "", "99999999"])
def test_a_wait_that_is_none_counts_as_nothing(hub: FakeHub, tmp_path: Path, after: str, waits: list[float]) -> None:
    hub.refuse["gpt.pth"], hub.retry_after = (429, ""), after
    assert "again in some minutes" in refused(hub, Hub, tmp_path) and waits == []


def test_the_list_tells_when_to_come_again(hub: FakeHub, source: Source, tmp_path: Path) -> None:
    hub.refuse[OWN], hub.retry_after = (429, ""), "30"
    assert "run the same command again in 30 s" in refused(hub, source, tmp_path)


def test_no_network(source: Source, tmp_path: Path) -> None:
    with serve(FakeHub({})) as gone:
        pass
    words = refused(gone, source, tmp_path)
    assert f"{gone.url} cannot be reached (" in words and "check the network and HTTPS_PROXY" in words
    assert names(tmp_path) == set()


def test_offline(hub: FakeHub, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    words = refused(hub, source, tmp_path)
    huggingface_hub.close_session()
    assert "HF_HUB_OFFLINE forbids downloads" in words and hub.requests == []


def test_another_host_gets_no_token(hub: FakeHub, source: Source, tmp_path: Path) -> None:
    with serve(FakeHub(hub.repositories)) as cdn:
        hub.cdn_url = cdn.url
        download(plan(hub, source, tmp_path))
    assert is_whole(hub, tmp_path) and cdn.requests
    assert all(headers.get("authorization") == f"Bearer {TOKEN}" for headers in hub.headers)
    for headers in cdn.headers:
        assert not {"authorization", "cookie"} & set(headers)
        assert TOKEN not in str(headers)


def test_each_hub_gets_its_own_token_only() -> None:
    assert ModelScope("https://mirror.example", TOKEN)._secret == TOKEN
    assert ModelScope("http://mirror.example", TOKEN)._secret is None
    assert "authorization" not in {k.lower() for k in ModelScope("https://mirror.example")._headers()}


SMALL_DISK = """
import os, sys
from pathlib import Path
from edgetts.errors import DownloadError
from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.quant import download_folder
from edgetts.quant.download import download, plan_download
from edgetts.quant.hub import Hub
from edgetts.quant.modelscope import ModelScope
url, kind, folder, is_checked = sys.argv[1:]
hub = {"huggingface": Hub, "modelscope": ModelScope}[kind](url)
if is_checked == "no":  # something else fills the disk meanwhile
    import edgetts.quant.download as module
    module.check_space = lambda *_: None
try:
    download(plan_download(Path(folder), INDEXTTS_2, hub=hub))
except DownloadError as error:
    print(error)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_full_disk(hub: FakeHub, small_disk: Path, kind: str) -> None:
    def run(is_checked: str) -> str:
        command = [sys.executable, "-c", SMALL_DISK, hub.url, kind, str(small_disk / "c"), is_checked]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "GiB are needed in" in run("yes") and not (small_disk / "c").exists()
    words = run("no")
    assert "no space left on device" in words and "make room and run the same command again" in words
    whole = {p.name: p.read_bytes() for p in (small_disk / "c").iterdir() if p.is_file() and p.name != RECORD_FILE}
    assert whole and all(hub.repositories[OWN][name] == data for name, data in whole.items())
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    before = len(hub.requests)
    assert run("no") == "" and is_whole(hub, small_disk / "c")
    assert any(given for _, given in hub.requests[before:])  # it went on


def test_models_that_modelscope_lacks_come_from_elsewhere(hub: FakeHub, tmp_path: Path) -> None:
    lacking = {name: hub.repositories.pop(name) for name in (MASKGCT, BIGVGAN)}
    with serve(FakeHub(lacking)) as other:
        planned = plan(hub, ModelScope, tmp_path, other_hub=Hub(other.url))
        assert planned.elsewhere == {MASKGCT: other.url, BIGVGAN: other.url}
        download(planned)
        assert is_whole(FakeHub({**hub.repositories, **lacking}), tmp_path)
        assert "semantic_codec/model.safetensors" in other.fetched()
    with pytest.raises(DownloadError, match=f"has no {MASKGCT}"):
        plan(hub, ModelScope, tmp_path / "b")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "not a JSON object"),
        (b"{}", "lists no files"),
        (b'{"Data": {"Files": {}}}', "lists no files"),
        (b'{"Data": {"Files": [1]}}', "a file without a name"),
        (b'{"Data": {"Files": [{"Path": 3}]}}', "a file without a name"),
        (b'{"Data": {"Files": [{"Path": "x", "Size": 1, "Sha256": "../x"}]}}', "invalid checksum for x"),
        (b'{"Data": {"Files": [{"Path": "x", "Size": -1, "Sha256": "aa"}]}}', "has no file, or no checksum"),
        (b'{"Code": 500, "Success": false}', "or hides it from you"),
        (b"<html>", "does not answer like a ModelScope hub"),
    ],
)
def test_answers_of_modelscope(hub: FakeHub, tmp_path: Path, body: bytes, words: str) -> None:
    def run(handler: object) -> None:
        handler.answer(200, body, {"Content-Type": "application/json"})  # type: ignore[attr-defined]

    hub.scripts["repo/files"] = run
    assert words in refused(hub, ModelScope, tmp_path)


def test_a_wait_can_be_given_up(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work that waits ends when the run was interrupted."""
    hub.refuse["gpt.pth"], hub.retry_after = (429, ""), "200"
    monkeypatch.setattr(hub_module, "_WAIT_STEP_S", 0.01)

    def stop(what: str, *_: int) -> None:
        if "waiting" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(plan(hub, Hub, tmp_path), progress=stop)
    assert not [t for t in threading.enumerate() if t.name == "edgetts-download" and not t.daemon]
