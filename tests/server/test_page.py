"""The web page: its headers, and at work in a headless Chromium."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from helpers.browser import CTRL, Page, browser, program
from helpers.daemon import Running, running, until
from helpers.paths import DATA, TESTS

from edgetts.api import TTS
from edgetts.server.page import PATHS
from edgetts.voices.voice import Voice

TOKEN = "0123456789abcdef-0123456789"
STATIC = TESTS.parent / "edgetts/server/static"
needs_browser = pytest.mark.skipif(program() is None, reason="no Chromium: apt-get install chromium-headless-shell")
LONG = "The page plays this while the rest is computed, sentence after sentence, until somebody stops it. " * 40


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With the built-in pack, whose encoders can learn a voice, and a token."""
    with running(tmp_path_factory.mktemp("home"), "builtin", token=TOKEN) as daemon:
        daemon.client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield daemon


def test_the_files_of_the_page_need_no_token_and_load_nothing_from_elsewhere(daemon: Running) -> None:
    assert {f"/page/{path.name}" for path in STATIC.iterdir() if path.name != "index.html"} | {"/"} == PATHS
    for path in PATHS:
        answer = httpx.get(f"{daemon.url}{path}")
        assert answer.status_code == 200
        assert not re.search(r"""(?:src|href|from|url\()=?\s*["']?(?:https?:)?//""", answer.text)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert set(policy.values()) == {"'none'", "'self'"}
    assert httpx.get(f"{daemon.url}/", headers={"Host": "evil.example"}).status_code == 403
    assert httpx.get(f"{daemon.url}/page/../page.py").status_code in (401, 404)


@needs_browser
@pytest.mark.slow
def test_a_person_at_the_page(daemon: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Adaptation takes minutes and is tested elsewhere: here it is only heard how many steps the page asks for.
    enroll, asked_steps = TTS.enroll, list[int | None]()

    def learn(*given: Any, adapt_steps: int | None, **more: Any) -> Voice:
        asked_steps.append(adapt_steps)
        return enroll(*given, adapt_steps=0, **more)

    monkeypatch.setattr(TTS, "enroll", learn)
    with browser(tmp_path / "profile") as page:
        page.size(1280, 860)
        page.save_downloads(tmp_path)
        page.go(f"{daemon.url}/")
        _enters_the_token(page)
        _hears_and_downloads(page, tmp_path)
        _speaks_faster_and_slower(page, tmp_path)
        _stops(page, daemon)
        _is_told_what_went_wrong(page)
        _makes_a_voice_and_deletes_it(page, daemon)
        _says_how_long_to_adapt(page, daemon)
        assert asked_steps == [None, 12]  # empty: the model's own number
        refusals = [line for line in page.log if not re.search(r"status of 40[01]", line)]
        assert refusals == []  # nothing broke, nothing met the security policy


def _enters_the_token(page: Page) -> None:
    page.until("!document.querySelector('#access').hidden")
    assert "token" in page.text("#error")
    page.type("#token", "not-the-token-of-this-server")
    page.press("Enter")
    page.until("document.querySelector('#error').innerText.includes('wrong')")
    page.type("#token", TOKEN)
    page.click("#access button")
    page.until("document.querySelector('#access').hidden && document.querySelector('#voice').value")
    assert page.text("#model")
    assert page.run("document.querySelectorAll('#emotions input').length") == 8


def _hears_and_downloads(page: Page, folder: Path) -> None:
    page.type("#text", "Good morning. This is the page.")
    assert page.text("#count") == "31 characters"
    page.type("#seed", "7")
    page.click("#go")
    page.until("parseFloat(document.querySelector('#first').innerText) > 0")
    page.until("document.querySelector('#status').innerText.startsWith('Speaking')")
    page.until("document.querySelector('#time').innerText.startsWith('0:01')")  # the loudspeaker's clock runs
    page.until("document.querySelector('#status').innerText === ''", 60)
    assert float(page.text("#rtf")) > 0
    colored = """(() => { const c = document.querySelector("#wave"), d = c.getContext("2d").getImageData(0, 0,
        c.width, c.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })()"""
    assert page.run(colored) > 2000
    assert "seed 7" in page.text("#history li")
    page.click("#download")
    file = folder / "good-morning-this-is-the.wav"
    until(lambda: file.exists() and file.stat().st_size > 0)
    samples, rate = soundfile.read(io.BytesIO(file.read_bytes()))
    assert rate == 24_000 and len(samples) > 24_000 and abs(samples).max() > 0.01
    page.click("#history button")
    page.until("document.querySelector('#status').innerText === 'Speaking.'")
    page.press("Escape")
    page.until("document.querySelector('#stop').disabled")


def _speaks_faster_and_slower(page: Page, folder: Path) -> None:
    """By the keys of the slider, whose ends are what the server takes."""
    seconds, file = {}, folder / "this-is-read-at-a.wav"
    for key, speed in (("Home", 0.5), ("End", 2.0)):
        page.focus("#speed")
        page.press(key)
        assert page.text("#speed-value") == f"{speed:.2f} ×"
        page.type("#text", f"This is read at a speed of its own, {key}.")
        page.click("#go")
        page.until(f"document.querySelector('#history li').innerText.includes('speed {speed:g}')", 60)
        page.until("document.querySelector('#status').innerText === ''", 60)
        page.click("#download")
        until(lambda: file.exists() and file.stat().st_size > 0)
        seconds[key] = soundfile.info(file).duration
        file.unlink()
    assert 2.0 < seconds["Home"] / seconds["End"] < 6.0  # four times, but for pauses and the last word
    page.focus("#speed")
    page.press("Home")
    for _ in range(10):
        page.press("ArrowRight")
    assert page.text("#speed-value") == "1.00 ×"


def _stops(page: Page, daemon: Running) -> None:
    page.type("#text", LONG)
    page.press("Enter", CTRL)
    page.until("document.querySelector('#first').innerText !== '–'")
    assert daemon.service.queue.n_served == 1
    page.click("#stop")
    until(lambda: daemon.service.queue.n_served == 0)
    page.until("document.querySelector('#history li').innerText.includes('stopped')")
    assert page.run("document.querySelector('#stop').disabled") is True
    assert page.text("#error") == ""


def _is_told_what_went_wrong(page: Page) -> None:
    page.type("#text", "?!")
    page.click("#go")
    said = page.until("document.querySelector('#error').innerText")
    assert said[0].isupper() and said.endswith(".") and "{" not in said


def _makes_a_voice_and_deletes_it(page: Page, daemon: Running) -> None:
    page.click("#new-voice summary")
    page.drop_file("#drop", DATA / "speech.ogg")
    page.until("document.querySelector('#name').value === 'speech'")
    page.type("#name", "of the page")
    page.click("#make")
    page.until("document.querySelector('#learn-status').innerText.startsWith('The voice of the page is ready')", 120)
    assert page.run("document.querySelector('#voice').value") == "of the page"
    assert daemon.tts.store.has("of the page")
    page.type("#text", "Hello.")
    page.click("#go")
    page.until("document.querySelector('#history li').innerText.includes('of the page')")
    page.click("#delete")
    page.until("document.querySelector('#voice').value !== 'of the page'")
    assert not daemon.tts.store.has("of the page")


def _says_how_long_to_adapt(page: Page, daemon: Running) -> None:
    page.drop_file("#drop", DATA / "speech.ogg")
    page.type("#name", "adapted")
    page.type("#adapt", "1.5")
    page.click("#make")
    assert page.run("document.querySelector('#adapt').matches(':invalid')") is True  # and nothing was sent
    assert page.run("document.querySelector('#make').disabled") is False
    page.type("#adapt", "12")
    page.click("#make")
    page.until("document.querySelector('#learn-status').innerText.startsWith('The voice adapted is ready')", 120)
    assert page.run("document.querySelector('#adapt').value") == ""
    assert daemon.tts.store.has("adapted")
