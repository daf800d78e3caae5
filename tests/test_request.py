"""`SpeechRequest`: what it refuses, and that JSON keeps all of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgetts import SpeechRequest
from edgetts.errors import UsageError
from edgetts.streaming.schedule import SEEDED_S, Fixed, FixedSeconds, Whole
from edgetts.text.glossary import Glossary
from edgetts.voices.emotion import Emotion

FULL = SpeechRequest(
    text="Hello.",
    voice="me.wav",
    emotion=Emotion(weights={"happy": 0.4}, alpha=0.5, cap=True),
    options={"seed": 3, "n_steps": 8},
    glossary=Glossary.from_dict({"KDE": {"en": "kay dee ee"}}),
    markup=True,
    markdown=False,
    normalizer="upstream",
    chunks=(30, 60),
    dtype="int16",
)


@pytest.mark.parametrize(
    "request_",
    [SpeechRequest(), FULL, SpeechRequest("Hi.", chunks="whole"), SpeechRequest(emotion=Emotion(recording="sad.wav"))],
)
def test_json_keeps_all_of_it(request_: SpeechRequest) -> None:
    assert SpeechRequest.from_json(json.loads(json.dumps(request_.to_json()))) == request_


def test_fields_at_their_defaults_are_left_out() -> None:
    assert SpeechRequest("Hi.").to_json() == {"text": "Hi."}


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(SpeechRequest("Hi.")) == "SpeechRequest('Hi.')" and repr(SpeechRequest()) == "SpeechRequest(None)"
    assert repr(SpeechRequest("Hi.", "me", options={"seed": 3}, markup=True)) == (
        "SpeechRequest('Hi.', voice='me', options={'seed': 3}, markup=True)"
    )
    assert eval(repr(FULL), {"SpeechRequest": SpeechRequest, "Emotion": Emotion, "Glossary": Glossary}) == FULL
    assert len(repr(SpeechRequest("Far too long for a line. " * 100))) < 120


def test_weights_alone_are_an_emotion() -> None:
    assert SpeechRequest.from_json({"emotion": {"sad": 0.2}}).emotion == Emotion(weights={"sad": 0.2})
    assert SpeechRequest.from_json({"emotion": "sad=0.2"}).emotion == Emotion(weights={"sad": 0.2})


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ([], "A request is a JSON object"),
        ({"txt": "Hi."}, "Unknown field 'txt'"),
        ({"text": 3}, "text is of type int"),
        ({"voice": 3}, "voice is of type int"),
        ({"options": {"n_stepz": 8}}, "did you mean n_steps"),
        ({"options": {"n_steps": 0}}, "0 flow steps are not possible"),
        ({"options": 7}, "options is of type int"),
        ({"emotion": {"weights": {"glad": 1}}}, "Unknown emotion 'glad'"),
        ({"emotion": {"weights": {"sad": 1}, "loud": 1}}, "Unknown field 'loud' in emotion"),
        ({"glossary": 3}, "it must map terms"),
        ({"markup": "yes"}, "markup is of type str"),
        ({"normalizer": "mine"}, "mine"),
        ({"chunks": "30"}, "chunks is '30'"),
        ({"chunks": [0]}, "give numbers of 1 or more"),
        ({"dtype": "float16"}, "float32 or int16"),
    ],
)
def test_what_cannot_be_meant_is_refused(table: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        SpeechRequest.from_json(table)


def test_how_a_stream_is_cut() -> None:
    assert SpeechRequest().schedule() is None
    assert SpeechRequest(options={"seed": 0}).schedule() == FixedSeconds(SEEDED_S)
    assert FixedSeconds(SEEDED_S).at(50.0) == Fixed((30, 60, 120)) and FixedSeconds(SEEDED_S).at(25.0) == Fixed(
        (15, 30, 60)
    )
    assert SpeechRequest(options={"seed": 0}, chunks=(9,)).schedule() == Fixed((9,))
    assert isinstance(SpeechRequest(chunks="whole").schedule(), Whole)


def test_a_voice_in_memory_cannot_be_sent() -> None:
    class InMemory:
        encoder_id = "x"

    with pytest.raises(UsageError, match="in memory only: save it"):
        SpeechRequest(voice=InMemory()).to_json()  # type: ignore[arg-type]
