"""Whatever a hub or something in its place answers, the download ends: with the file, or with one sentence."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgetts.families.indextts2.dims import INDEXTTS_2

pytest.importorskip("huggingface_hub", reason="needs the extra `download`")

from helpers.fake_hub import OWN, FakeHub, serve, small_repositories
from helpers.paths import DATA

from edgetts.errors import DownloadError
from edgetts.quant import hub as module
from edgetts.quant.download import download, plan_download
from edgetts.quant.download_folder import PARTS_FOLDER
from edgetts.quant.patience import Abandoned, Heartbeat, TooSlow, patiently

MAX_REQUESTS = 60  # of a run that is refused: there are 12 files


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(module, "RETRY_WAIT_S", 0.0)
    with serve(FakeHub(small_repositories(DATA / "config" / "mini"))) as running:
        yield running


def fetch(hub: FakeHub, folder: Path) -> None:
    download(plan_download(folder, INDEXTTS_2, endpoint=hub.url))


def refused(hub: FakeHub, folder: Path) -> str:
    with pytest.raises(DownloadError) as caught:
        fetch(hub, folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert len(hub.requests) < MAX_REQUESTS
    assert not (folder / "gpt.pth").exists()
    return str(caught.value)


def answer(status: int, body: bytes = b"", length: int | None = None, **headers: str) -> Callable[[Any], None]:
    def run(handler: Any) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)
        if length not in (None, len(body)):
            handler.close_connection = True

    return run


WEB_PAGE = b"<html>Please log in</html>"
SIZE = 400_000  # of gpt.pth in the small repositories


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (answer(200), "it sends 0 bytes instead of the 400000"),
        (answer(200, WEB_PAGE), "26 bytes instead of"),
        (answer(200, WEB_PAGE, Content_Type="text/html; charset=utf-8"), "web page, perhaps a login page"),
        (answer(200, b"x" * 10, length=SIZE), "gpt.pth"),
        (answer(200, b"x" * 10, length=5 * SIZE), f"{5 * SIZE} bytes instead of"),
        (answer(200, b"x" * 10, Content_Encoding="gzip"), "content encoding gzip"),
        (answer(201, b"x" * SIZE), "HTTP 201"),
        (answer(204), "HTTP 204, which has no content"),
        (answer(205), "HTTP 205"),
        (answer(206), "another part of the file"),
        (answer(206, b"x" * 10, Content_Range="bytes 100-109/400000"), "another part"),
        (answer(206, b"x" * 10, Content_Range="bytes 0-9/77"), "another part"),
        (answer(206, b"x" * 10, Content_Range="bytes 0-9/" + "9" * 5000), "another part"),
        (answer(206, b"", Content_Range="bytes 0-399999/400000"), "it ends after 0 of 400000 bytes"),
        (answer(300), "HTTP 300"),
        *((answer(status), f"HTTP {status}") for status in (301, 302, 303, 304, 305, 307, 308)),
        (answer(302, Location="/IndexTeam/IndexTTS-2/resolve/x/gpt.pth"), "redirects more than 10 times"),
        (answer(302, Location="http://" + "a" * 300 + ".example/x"), "redirects to an invalid address"),
        (answer(302, Location="http://" + "a" * 64 + ".example/x"), "redirects to an invalid address"),
        (answer(302, Location="http://host:port/x"), "does not send"),
        (answer(302, Location="http://"), "gpt.pth"),
        (answer(302, Location="ftp://host/x"), "redirects to an invalid address"),
        (answer(302, Location="file:///etc/passwd"), "redirects to an invalid address"),
        (answer(403, b"[" * 100_000), "HTTP 403"),
        (answer(404, b'[{"error": 1}]', Content_Type="application/json"), "HTTP 404"),
        (answer(416), "HTTP 416"),
    ],
)
def test_answers_without_the_file(hub: FakeHub, tmp_path: Path, script: Callable[[Any], None], words: str) -> None:
    hub.scripts["gpt.pth"] = script
    assert words in refused(hub, tmp_path)


def test_a_login_page_costs_nothing_of_what_is_here(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut["gpt.pth"] = [150_000, 0, 0, 0]
    refused(hub, tmp_path)
    (part,) = (tmp_path / PARTS_FOLDER).glob("*.part")
    here = part.stat().st_size
    assert here > 100_000
    hub.scripts["gpt.pth"] = answer(200, WEB_PAGE, Content_Type="text/html")
    refused(hub, tmp_path)
    assert part.stat().st_size == here
    hub.scripts.clear()
    hub.cut.clear()
    fetch(hub, tmp_path)
    assert (tmp_path / "gpt.pth").read_bytes() == hub.repositories[OWN]["gpt.pth"]


def test_a_server_that_begins_anew_each_time_gets_no_further(hub: FakeHub, tmp_path: Path) -> None:
    """Forth and back between two lengths is no progress."""
    hub.ignore_range = True
    hub.cut["gpt.pth"] = [100_000, 50_000] * 100
    refused(hub, tmp_path)


def test_a_few_bytes_a_request_are_no_progress(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut["gpt.pth"] = [10] * 1000
    refused(hub, tmp_path)


def endless(handler: Any, head: bytes, drop: bytes, pause_s: float) -> None:
    handler.wfile.write(head)
    while not handler.server.stopping.wait(pause_s):
        handler.wfile.write(drop)
        handler.wfile.flush()


@pytest.fixture
def dripping(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, bytes, bytes], None]]:
    """Makes addresses send a head, and then a few bytes now and then, for ever."""
    stopping = threading.Event()
    monkeypatch.setattr(module, "SLOW_STRETCH_S", 0.4)
    monkeypatch.setattr(module, "METADATA_LIMIT_S", 0.4)

    def make(end: str, head: bytes, drop: bytes) -> None:
        def run(handler: Any) -> None:
            handler.server.stopping = stopping
            endless(handler, head, drop, 0.01)

        hub.scripts[end] = run

    yield make
    stopping.set()


@pytest.mark.parametrize(
    ("end", "head", "drop", "words"),
    [
        ("gpt.pth", b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n", b"x", "too slowly (less than 64 KiB in"),
        ("gpt.pth", b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n", "too slowly"),
        ("gpt.pth", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", "too slowly"),
        ("revision/main", b"HTTP/1.1 200 OK\r\n\r\n", b" ", "did not list the files of"),
        ("revision/main", b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n", "did not list the files of"),
        ("revision/main", b"HTTP/1.1 302 Found\r\nLocation: /", b"x", "did not list the files of"),
    ],
)
def test_drop_by_drop(
    dripping: Callable[[str, bytes, bytes], None],
    hub: FakeHub,
    tmp_path: Path,
    end: str,
    head: bytes,
    drop: bytes,
    words: str,
) -> None:
    dripping(end, head, drop)
    assert words in refused(hub, tmp_path)


@pytest.mark.parametrize("head", [b"HTTP/1.1 500 Oh\r\n\r\n", b"HTTP/1.1 302 Found\r\nLocation: /api/none\r\n\r\n"])
def test_what_a_refusal_has_to_say_is_not_read(
    dripping: Callable[[str, bytes, bytes], None], hub: FakeHub, tmp_path: Path, head: bytes
) -> None:
    dripping("revision/main", head, b"x" * 65536)
    assert "HTTP" in refused(hub, tmp_path)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 100_000, "is not JSON"),
        (b'{"a":' * 100_000, "is not JSON"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "names no commit"),
        (b'{"sha": 3}', "names no commit"),
        (b'{"sha": "../../x"}', "names no commit"),
        (b'{"sha": "abc"}', "lists no files"),
        (b'{"sha": "abc", "siblings": {}}', "lists no files"),
        (b'{"sha": "abc", "siblings": [1]}', "a file without a name"),
        (b'{"sha": "abc", "siblings": [{"rfilename": [1]}]}', "a file without a name"),
        (b" " * (17 << 20), "more than 16 MiB"),
        (b"\xff\xfe", "is not JSON"),
    ],
)
def test_answers_about_a_repository(hub: FakeHub, tmp_path: Path, body: bytes, words: str) -> None:
    hub.scripts["revision/main"] = answer(200, body, Content_Type="application/json")
    assert words in refused(hub, tmp_path)


@pytest.mark.parametrize("size", ["1e999", "-1", "[1]", "1.5", "true", '"400000"', "9" * 30, "NaN", "null", "{}"])
def test_sizes_that_are_none(hub: FakeHub, tmp_path: Path, size: str) -> None:
    table = json.dumps(hub.information(OWN)).replace(f'"size": {SIZE}', f'"size": {size}')
    assert table != json.dumps(hub.information(OWN))
    hub.scripts[f"{OWN}/revision/main"] = answer(200, table.encode())
    assert "no checksum of it, for 1 that are needed: gpt.pth" in refused(hub, tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("lfs", [1]), ("lfs", {"sha256": ["x"]}), ("lfs", {"sha256": "../../etc"}), ("blobId", 3), ("cardData", [1])],
)
def test_values_of_other_kinds(hub: FakeHub, tmp_path: Path, key: str, value: object) -> None:
    table = hub.information(OWN)
    for entry in [table, *table["siblings"]]:
        if key in entry:
            entry[key] = value
    hub.scripts[f"{OWN}/revision/main"] = answer(200, json.dumps(table).encode())
    if key == "cardData":
        fetch(hub, tmp_path)
    else:
        assert "checksum" in refused(hub, tmp_path)


def test_patience() -> None:
    """Work that gets on is waited for; work that does not is told to stop."""
    assert patiently(lambda progress: progress.add(1), 60.0, least=1) is None
    go_on, stopped = threading.Event(), threading.Event()

    def stuck(progress: Heartbeat) -> None:
        progress.add(5)
        go_on.wait()
        try:
            progress.add(5)
        except Abandoned:
            stopped.set()
            raise

    with pytest.raises(TooSlow):
        patiently(stuck, 0.05, least=100)
    go_on.set()
    assert stopped.wait(60)
    with pytest.raises(KeyError):
        patiently(lambda _: {}["x"], 60.0, least=1)
