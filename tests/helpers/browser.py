"""Headless Chromium by its DevTools protocol, over the `websockets` that the daemon needs anyway.

In: selectors, scripts, files. Out: what the page shows, and pictures. Clicks and keys are real events, so that the
page's permissions (sound) are those of a user's.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
_START_S = 60.0
# Code, and the text that it types.
_KEYS = {"Escape": (27, ""), "Enter": (13, "\r"), "End": (35, ""), "Home": (36, ""), "ArrowRight": (39, "")}
CTRL = 2


def program() -> str | None:
    """Where Chromium is, or None."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Page:
    """One tab. log: messages of its console and its security policy."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._session: str | None = None
        self.log: list[str] = []
        self.downloads: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A DevTools command. Raises AssertionError with its error."""
        id = next(self._ids)
        message = {"id": id, "method": method, "params": params}
        self._socket.send(json.dumps(message if self._session is None else {**message, "sessionId": self._session}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == id:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._on_event(answer)

    def _on_event(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Log.entryAdded":
            self.log.append(params["entry"]["text"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.log.append(params["exceptionDetails"]["exception"].get("description", "exception"))
        elif event.get("method") == "Page.javascriptDialogOpening":
            message = {"id": next(self._ids), "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
            self._socket.send(json.dumps({**message, "sessionId": self._session}))

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 30.0) -> Any:
        """Wait until the expression is true; its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"never: {script}; {self.text('main')}; {self.log}"
            time.sleep(0.05)
        return value

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        """A click of the mouse in the middle of the element."""
        x, y = self._middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def _middle(self, selector: str) -> tuple[float, float]:
        x, y = self.run(
            f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: "center"}}); const b = e.getBoundingClientRect();
            return [b.x + b.width / 2, b.y + b.height / 2]; }})()"""
        )
        return x, y

    def type(self, selector: str, text: str) -> None:
        """Replace the text of a field."""
        self.run(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.focus(); e.select(); }})()")
        self.call("Input.insertText", text=text)

    def focus(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")

    def press(self, key: str, modifiers: int = 0) -> None:
        number, text = _KEYS[key]
        about = {"key": key, "code": key, "windowsVirtualKeyCode": number, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def drop_file(self, selector: str, file: Path) -> None:
        """Drag a file over the element and let it go."""
        x, y = self._middle(selector)
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def size(self, width: int, height: int, *, is_phone: bool = False, is_dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 2 if is_phone else 1, "mobile": is_phone},
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def picture(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def save_downloads(self, folder: Path) -> None:
        self.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A tab of a Chromium of its own. profile: an empty folder."""
    found = program()
    assert found is not None
    process = subprocess.Popen(
        [
            *(found, "--headless", "--no-sandbox", "--disable-gpu", "--mute-audio", "--hide-scrollbars"),
            *("--remote-debugging-port=0", f"--user-data-dir={profile}", "--disable-background-networking"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # the program may be a script that starts Chromium
    )
    try:
        port_file, deadline = profile / "DevToolsActivePort", time.monotonic() + _START_S
        while not (port_file.exists() and len(port_file.read_text().split()) == 2):
            assert process.poll() is None and time.monotonic() < deadline, "Chromium did not start"
            time.sleep(0.05)
        port, path = port_file.read_text().split()
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, open_timeout=_START_S) as socket:
            yield Page(socket)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
