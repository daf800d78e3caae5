"""Whatever a client makes of the OpenAPI description, the answer is speech or a sentence about its mistake."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from helpers.daemon import QUICK, VOICE, Running
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgetts.server.api_request import FIELDS, ApiRequest, parse_request
from edgetts.server.faults import Fault
from edgetts.server.openapi import document
from edgetts.server.settings import Limits

SCHEMAS = document(Limits(), has_token=False)["components"]["schemas"]
SPEECH = SCHEMAS["Speech"]["properties"]
BOUND = 10**20
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What the schema allows."""
    if "oneOf" in schema:
        return st.one_of([values(one) for one in schema["oneOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    least, most = schema.get("minimum"), schema.get("maximum")
    kind = schema.get("type")
    if kind == "object":
        known = {name: values(one) for name, one in schema.get("properties", {}).items()}
        return st.fixed_dictionaries({}, optional=known) if known else st.dictionaries(st.text(max_size=8), ANY)
    if kind == "array":
        return st.lists(values(schema["items"]), max_size=4)
    if kind == "string":
        return st.text(min_size=schema.get("minLength", 0), max_size=min(60, schema.get("maxLength", 60)))
    if kind == "integer":
        return st.integers(-BOUND if least is None else least, BOUND if most is None else most)
    if kind == "number":
        return st.floats(least, most)
    return {"boolean": st.booleans()}.get(str(kind), ANY)


REQUESTS = st.fixed_dictionaries({}, optional={name: values(schema) | ANY for name, schema in SPEECH.items()})


def test_the_description_names_every_field() -> None:
    assert set(SPEECH) | {"instructions"} == set(FIELDS)


@settings(max_examples=150, deadline=None)
@given(REQUESTS)
def test_every_table_is_a_request_or_refused_in_a_sentence(table: dict[str, Any]) -> None:
    try:
        assert isinstance(parse_request(table, ["tts-1"]), ApiRequest)
    except Fault as fault:
        assert 400 <= fault.status < 500
        assert fault.message.endswith((".", "?"))
        json.dumps(fault.table(), allow_nan=False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40), REQUESTS)
def test_no_request_is_an_error_of_the_server(daemon: Running, text: str, table: dict[str, Any]) -> None:
    """Options are fixed, so that what can be spoken is spoken quickly."""
    slow = {"options", "preset", "steps"}
    table = {name: value for name, value in table.items() if name not in slow}
    content = json.dumps({**table, "input": text, "voice": VOICE, "options": QUICK}).encode()
    answer = daemon.client.post("/v1/audio/speech", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code < 500, answer.text


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=40), st.sampled_from(["/v1/voices/", "/v1/models/", "/page/"]), st.booleans())
@example("/", "/v1/voices/", True)  # is decoded to a second slash
def test_no_name_is_an_error_of_the_server(daemon: Running, name: str, path: str, deletes: bool) -> None:
    place = path + quote(name.encode("utf-8", "surrogatepass"), safe="")
    answer = daemon.client.request("DELETE" if deletes else "GET", place)
    assert 400 <= answer.status_code < 500, (name, answer.text)
