"""A kitchen timer with a window that says when time is up, without the window ever standing still.

python gui_timer.py 180 "Your tea is ready."

The sentence is synthesized in a thread while the timer runs, so that it is heard at once when the time has come.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from edgetts import TTS, Audio

TICK_MS = 200


class SpokenTimer:
    """Counts down, then plays. Knows no window: `after` calls a function later, as a widget's does."""

    def __init__(
        self,
        seconds: float,
        sentence: Callable[[], Audio],
        after: Callable[[int, Callable[[], None]], object],
        show: Callable[[str], None],
        play: Callable[[Audio], None] = Audio.play,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._after, self._show, self._play, self._now = after, show, play, now
        self._ends = now() + seconds
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._audio: Future[Audio] = self._worker.submit(sentence)
        self._tick()

    def _tick(self) -> None:
        left = self._ends - self._now()
        if left > 0:
            self._show(f"{int(left) // 60}:{int(left) % 60:02d}")
        elif self._audio.done():
            self._show("0:00")
            self._worker.submit(self._play, self._audio.result())  # in the thread: playing takes as long as the sound
            return
        self._after(TICK_MS, self._tick)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", type=float)
    parser.add_argument("sentence", nargs="?", default="Time is up.")
    parser.add_argument("--voice", help="a name, a voice file or a recording")
    given = parser.parse_args()

    import tkinter

    window = tkinter.Tk()
    window.title("edgetts")
    text = tkinter.StringVar(window)
    tkinter.Label(window, textvariable=text, font=("sans-serif", 48), padx=40, pady=20).pack()
    with TTS.load() as tts:
        SpokenTimer(
            given.seconds,
            lambda: tts.say(given.sentence, given.voice),
            after=window.after,
            show=text.set,
        )
        window.mainloop()


if __name__ == "__main__":
    main()
