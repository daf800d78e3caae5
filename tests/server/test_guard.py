"""Who may ask: hosts, origins, tokens, bodies. A small application behind the guard stands in for the daemon's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from edgetts.errors import UsageError
from edgetts.server.body import on_error
from edgetts.server.faults import Fault, without_paths
from edgetts.server.guard import Guard
from edgetts.server.settings import Limits, Settings, check_address, read_token

TOKEN = "0123456789abcdef-0123456789"


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def ask(settings: Settings, method: str = "GET", path: str = "/v1/models", **more: object) -> httpx.Response:
    routes = [Route(p, echo, methods=["GET", "POST"]) for p in ("/health", "/v1/models", "/v1/voices")]
    app = Guard(Starlette(routes=routes, exception_handlers={Fault: on_error}), settings)

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8880") as client:
            return await client.request(method, path, **more)

    return asyncio.run(run())


@pytest.mark.parametrize("host", ["127.0.0.1:8880", "localhost", "LocalHost:1", "[::1]:8880"])
def test_this_machine_by_its_own_names(host: str) -> None:
    assert ask(Settings(), headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "192.168.1.7:8880"])
def test_a_name_that_leads_here_from_elsewhere_is_refused(host: str) -> None:
    answer = ask(Settings(), headers={"Host": host})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "host_not_allowed"


def test_pages_of_other_servers_may_not_ask_unless_they_are_let_in() -> None:
    elsewhere = {"Origin": "http://evil.example"}
    assert ask(Settings(), headers=elsewhere).json()["error"]["code"] == "origin_not_allowed"
    assert ask(Settings(), headers={"Origin": "null"}).status_code == 403
    assert ask(Settings(), headers={"Origin": "http://127.0.0.1:8880"}).status_code == 200
    assert ask(Settings(origins=("http://evil.example",)), headers=elsewhere).status_code == 200


def test_a_page_that_is_let_in_may_read_the_answer_and_no_other() -> None:
    page = "http://localhost:3000"
    settings = Settings(host="0.0.0.0", token=TOKEN, origins=(page,))
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Private-Network": "true"}
    told = ask(settings, "OPTIONS", headers={"Origin": page, **asks})  # browsers send no token with it
    assert told.status_code == 204 and told.content == b""
    assert told.headers["Access-Control-Allow-Origin"] == page
    assert told.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert "POST" in told.headers["Access-Control-Allow-Methods"]
    assert told.headers["Access-Control-Allow-Private-Network"] == "true"
    answer = ask(settings, headers={"Origin": page, "Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Vary"]) == (page, "Origin")
    assert "X-Seed" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    refused = ask(settings, headers={"Origin": page})  # the page reads why
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, page)
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"{page}.evil.example"}):
        for method in ("OPTIONS", "GET"):
            answer = ask(settings, method, headers={**headers, **asks, "Authorization": f"Bearer {TOKEN}"})
            assert answer.status_code == 403
            assert not [name for name in answer.headers if name.startswith("access-control")]
    local = Settings(origins=(page,))
    assert ask(local, "OPTIONS", headers={"Origin": page, "Host": "evil.example", **asks}).status_code == 403
    assert "Access-Control-Allow-Origin" not in ask(local).headers


@pytest.mark.parametrize("given", [None, "Bearer wrong-wrong-wrong-wrong", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_without_the_token_nothing_but_health(given: str | None) -> None:
    settings = Settings(host="0.0.0.0", token=TOKEN)
    headers = {} if given is None else {"Authorization": given}
    answer = ask(settings, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["error"]["type"] == "authentication_error"
    assert ask(settings, path="/health", headers=headers).status_code == 200


def test_with_the_token_and_by_any_name() -> None:
    settings = Settings(host="0.0.0.0", token=TOKEN)
    answer = ask(settings, headers={"Authorization": f"Bearer {TOKEN}", "Host": "board.local:8880"})
    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_bodies_are_bounded_whether_their_length_is_said_or_not() -> None:
    settings = Settings(limits=Limits(body_bytes=1000, upload_bytes=3000))

    async def pieces():
        for _ in range(20):
            yield b"x" * 100

    assert ask(settings, "POST", content=b"x" * 1000).text == "1000"
    for content in (b"x" * 1001, pieces()):
        answer = ask(settings, "POST", content=content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    assert ask(settings, "POST", "/v1/voices", content=pieces()).text == "2000"


def test_the_rest_of_a_refused_body_is_read_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the connection is reset, and the refusal with it."""
    monkeypatch.setattr("edgetts.server.guard.DRAINED_BYTES", 5000)
    monkeypatch.setattr("edgetts.server.guard.DRAINED_S", 0.2)
    n_sent = 0

    async def pieces(n: int, wait_s: float = 0.0):
        nonlocal n_sent
        n_sent = 0
        for _ in range(n):
            n_sent += 1
            yield b"x" * 100
            await asyncio.sleep(wait_s)

    small = Settings(limits=Limits(body_bytes=1000))
    for settings, status in ((small, 413), (Settings(token=TOKEN, limits=small.limits), 401)):
        assert ask(settings, "POST", content=pieces(40)).status_code == status
        assert n_sent == 40
        assert ask(settings, "POST", content=pieces(1000)).status_code == status
        assert 50 <= n_sent < 70
        assert ask(settings, "POST", content=pieces(40, 0.05)).status_code == status
        assert n_sent < 40
    assert ask(small, "POST", content=pieces(40), headers={"Expect": "100-continue"}).status_code == 413
    assert n_sent == 11


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def slow():
        yield b"x"
        await asyncio.sleep(5)

    answer = ask(Settings(limits=Limits(body_s=0.05)), "POST", content=slow())
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "request_timeout")


def test_an_address_that_others_reach_needs_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.7", "board.local"):
        with pytest.raises(UsageError, match="needs a token"):
            check_address(host, None)
        check_address(host, TOKEN)
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        check_address(host, None)


def test_a_token_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert read_token(file) == TOKEN
    assert TOKEN not in repr(Settings(token=TOKEN))
    for content, said in (
        ("short", "5 characters"),
        ("with spaces between", "cannot carry"),
        ("ключ" * 9, "header"),
    ):
        file.write_text(content)
        with pytest.raises(UsageError, match=said):
            read_token(file)
    with pytest.raises(UsageError, match="cannot be read"):
        read_token(tmp_path / "none")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Cannot read /home/me/.local/share/edgetts/voices/me.safetensors: no.", "Cannot read me.safetensors: no."),
        ("The voice (/tmp/a b) is bad", "The voice (a b) is bad"),
        ("see https://example.org/a/b and 1/2, and/or", "see https://example.org/a/b and 1/2, and/or"),
        ("'/srv/x/y.wav' and ~/packs/tiny.", "'y.wav' and tiny."),
    ],
)
def test_sentences_for_clients_name_no_folders(said: str, told: str) -> None:
    assert without_paths(said) == told
