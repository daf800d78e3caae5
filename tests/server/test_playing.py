"""Speech that is played through a daemon: one after the other, or instead of the other; here or by the daemon."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.command import run_edgetts
from helpers.daemon import LONG, VOICE, Running, home_of, running, until

from edgetts.audio.playback.player import State
from edgetts.audio.playback.sink import PlaybackStats, Samples, Sink
from edgetts.cli.say import live
from edgetts.cli.say.output import Output
from edgetts.errors import AudioError, Cancelled, EdgeTTSError, UsageError
from edgetts.request import SpeechRequest
from edgetts.server import loudspeaker
from edgetts.server.client import Connection
from edgetts.server.local import Playing
from edgetts.server.settings import Limits
from edgetts.streaming.schedule import LatencyEstimator

OPTIONS = {"n_beams": 1, "n_steps": 1, "max_codes": 25, "guards": False, "seed": 7}
QUICK = ("--beams", 1, "--steps", 1, "--max-codes", 25, "--no-guards", "--seed", 7, "--device", "cpu")


class Speaker(Sink):
    """Plays for ever where it is told to, and writes down what it heard."""

    def __init__(self, device: str | None, *, holds: bool = False) -> None:
        self.device = device
        self.heard: list[Samples] = []
        self.is_aborted = threading.Event()
        self.is_drained = False
        self._holds = holds

    def open(self, sample_rate: int) -> None:
        self.rate = sample_rate

    def write(self, samples: Samples) -> None:
        self.heard.append(samples)
        if self._holds:
            self.is_aborted.wait(60)
            raise Cancelled("aborted")

    def end(self) -> None:
        pass

    def drain(self) -> None:
        self.is_drained = True

    def abort(self) -> None:
        self.is_aborted.set()

    def close(self) -> None:
        self.abort()

    @property
    def stats(self) -> PlaybackStats:
        return PlaybackStats(State.BUFFERING, self.rate, sum(map(len, self.heard)), 0, 0, 0, 0, 0, 0)


class Speakers:
    """What `say` opened, in order. n_holding: of them, that never end by themselves."""

    def __init__(self) -> None:
        self.n_holding = 0
        self.all: list[Speaker] = []

    def open(self, device: str | None) -> Speaker:
        self.all.append(Speaker(device, holds=len(self.all) < self.n_holding))
        return self.all[-1]


@pytest.fixture(scope="module")
def daemon(mini_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("home")
    home = home_of(folder, mini_pack)
    with running(home, mini_pack, socket=folder / "s", limits=Limits(streams=2), stop_s=1.0) as daemon:
        yield daemon


@pytest.fixture
def speakers(daemon: Running, mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> Speakers:
    wanted = {"HOME": daemon.home, "PACK": mini_pack, "VOICE": VOICE, "SOCKET": daemon.home / "s"}
    for name, value in wanted.items():
        monkeypatch.setenv(f"EDGETTS_{name}", str(value))
    found = Speakers()
    monkeypatch.setattr(live, "open_sink", found.open)
    monkeypatch.setattr(loudspeaker, "open_sink", found.open)
    return found


class Call(threading.Thread):
    """What `edgetts say` does with a daemon, in a thread, which its whole command cannot be tested in."""

    def __init__(self, daemon: Running, speakers: Speakers, text: str, *, on_server: bool = False) -> None:
        super().__init__()
        self._socket = daemon.home / "s"
        self._speakers = speakers
        self._text = text
        self._on_server = on_server
        self._error: EdgeTTSError | None = None
        self.start()

    def run(self) -> None:
        request = SpeechRequest(text=self._text, voice=VOICE, options=OPTIONS)
        out = Output(None, False, None, True, None, False, None, None, None)
        plays = "server" if self._on_server else "client"
        try:
            stream = Connection(self._socket).start(request, None, {"plays": plays})
            sink = None if self._on_server else self._speakers.open(None)
            if sink is not None:
                sink.open(stream.sample_rate)
            live.speak(stream, sink, out, quiet=True)
        except EdgeTTSError as error:
            self._error = error

    def ended(self) -> EdgeTTSError | None:
        self.join(60)
        assert not self.is_alive()
        return self._error


def test_the_client_knows_before_playback_that_the_machine_is_slow(
    daemon: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SpeechRequest(text="Hello.", voice=VOICE, options=OPTIONS)
    for rtf, notice in (
        (2.0, "Speech is estimated to take 2.0 times its length here: playback starts late."),
        (0.5, None),
    ):
        monkeypatch.setattr(LatencyEstimator, "rtf", lambda self, context, rtf=rtf: rtf)
        with Connection(daemon.home / "s").start(request, None, {"plays": "client"}) as stream:
            assert stream.speed_notice == notice


def say(*arguments: object):
    return run_edgetts("say", *arguments, *QUICK)


def test_the_daemon_plays_what_would_be_played_here(speakers: Speakers) -> None:
    here = say("Hello there.", "--chunks", "20", "--json")
    there = say("Hello there.", "--chunks", "20", "--json", "--play-on", "server", "--output-device", "usb")
    assert here.exit_code == there.exit_code == 0, there.stderr
    of_client, of_daemon = speakers.all
    assert of_daemon.device == "usb" and of_daemon.is_drained
    assert np.array_equal(np.concatenate(of_client.heard), np.concatenate(of_daemon.heard))
    first, second = json.loads(here.stdout), json.loads(there.stdout)
    assert first["playback"] == second["playback"] and first["seconds"] == second["seconds"] > 0


def test_a_loudspeaker_that_is_not_there(speakers: Speakers, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_device: object) -> None:
        raise AudioError("There is no sound output device here.")

    monkeypatch.setattr(loudspeaker, "open_sink", refuse)
    failed = say("Hello.", "--play-on", "server")
    assert failed.exit_code == 1 and "no sound output device" in failed.stderr


def n_asked(daemon: Running) -> int:
    """Connections whose request has been read."""
    return sum(connection._speaking is not None for connection in daemon.daemon.local._connections)


@pytest.mark.parametrize("place", ["here", "server"])
def test_a_second_call_waits_and_an_interruption_replaces_both(daemon: Running, speakers: Speakers, place: str) -> None:
    speakers.n_holding = 1
    on_server = place == "server"
    first = Call(daemon, speakers, LONG, on_server=on_server)
    until(lambda: bool(speakers.all and speakers.all[0].heard))
    second = Call(daemon, speakers, "I wait.", on_server=on_server)
    until(lambda: n_asked(daemon) == 2)  # both have said that they play
    third = say("At once.", "--play-on", place, "--interrupt")
    assert third.exit_code == 0, third.stderr
    for error in (first.ended(), second.ended()):
        assert isinstance(error, Cancelled) and "interrupt" in str(error)
    assert speakers.all[0].is_aborted.is_set() and not speakers.all[0].is_drained
    assert speakers.all[-1].is_drained and speakers.all[-1].heard
    played = [speaker for speaker in speakers.all if speaker.is_drained]
    assert len(played) == 1
    until(lambda: daemon.service.queue.n_served == 0)


def test_a_turn_ends_with_the_playback(daemon: Running, speakers: Speakers) -> None:
    calls = [Call(daemon, speakers, "Hello there.") for _ in range(3)]
    assert [call.ended() for call in calls] == [None, None, None]
    until(lambda: not daemon.daemon.local._turn.locked())


def test_what_is_not_played_is_not_interrupted(daemon: Running, speakers: Speakers) -> None:
    request = SpeechRequest(text="Hello there. How are you?", voice=VOICE, options=OPTIONS)
    with Connection(daemon.home / "s").start(request) as stream:
        assert say("At once.", "--interrupt").exit_code == 0
        assert stream.speech(sum(len(chunk.samples) for chunk in stream)).seconds > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--interrupt", "--no-daemon"), "contradict"),
        (("--play-on", "server", "--no-daemon"), "contradict"),
        (("--interrupt", "-o", "a.wav"), "drop it, or -o"),
        (("--play-on", "server", "--play", "-o", "a.wav"), "writes no file"),
        (("--play-on", "moon"), "here or server"),
        (("--interrupt", "--voice", "nobody.wav"), "needs a daemon"),
    ],
)
def test_misuse(speakers: Speakers, arguments, said: str) -> None:
    refused = say("Hello.", *arguments)
    assert refused.exit_code == 2 and said in refused.stderr, refused.stderr


def test_options_of_another_version_are_refused() -> None:
    assert Playing.from_json({}) == Playing()
    for table in ({"plays": "moon"}, {"volume": 3}, {"interrupts": 1.5}, {"device": 3}):
        with pytest.raises(UsageError):
            Playing.from_json(table)
