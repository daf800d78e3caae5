"""JSON of others is read within bounds, and refused with the end of a sentence."""

from __future__ import annotations

import json
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetts.pack.plain_json import MAX_DEPTH, MAX_MARKS, InvalidJSON, listed, read_json, shown

MAX_BYTES = 4 << 20


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": [1, 2.5, "x\\"[[[[", null, true, -0.0, 1e3]}',
        '{"ключ": "日本語 \\u00e9 \\ud83d\\ude00"}'.encode(),
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b"9223372036854775807",
    ],
)
def test_sound_json_is_read_as_ever(data: bytes) -> None:
    assert read_json(data, max_bytes=MAX_BYTES) == json.loads(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested deeper"),
        (b"[" * 1_000_000, "nested deeper"),
        (b'{"a":' * 500_000, "nested deeper"),
        (b'{"a":' * 1000 + b"1" + b"}" * 1000, "nested deeper"),
        (b"[" + b"[]," * 1_000_000 + b"[]]", "more than"),
        (b'["' + b'","' * 1_000_000 + b'"]', "more than"),
        (b" " * (MAX_BYTES + 1), "bytes long"),
        (b"1" + b"0" * 400, "401 digits"),
        (b'{"seconds": -1' + b"0" * 400_000 + b"}", "digits"),
        (b"[1e999]", "finite"),
        (b"[NaN]", "finite"),
        (b"[-Infinity]", "finite"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'"\\ud800"', "UTF-8"),
        (b"\xff", "UTF-8"),
        (b"", "not valid JSON"),
        (b'"\\', "not valid JSON"),
        (b'"\x1b[31m"', "not valid JSON"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidJSON, match=reason) as caught:
        read_json(data, max_bytes=MAX_BYTES)
    assert len(str(caught.value)) < 200 and str(caught.value).isprintable()


@pytest.mark.parametrize("unit", [b"[],", b'"",', b"{},", b"1000,", b'"\\u00e9"', b"\\", b'\\"', b"[[]],"])
def test_memory_is_bounded_by_the_length(unit: bytes) -> None:
    data = b"[" + unit * (MAX_BYTES // len(unit) - 1) + b"0]"
    tracemalloc.start()
    try:
        read_json(data, max_bytes=MAX_BYTES)
    except InvalidJSON:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 24 * MAX_BYTES


def test_the_stack_does_not_grow() -> None:
    """However little of it is left: depth is looked at without recursion."""
    limit = sys.getrecursionlimit()

    def deeper(n: int) -> object:
        return deeper(n - 1) if n else read_json(b"[" * 100_000, max_bytes=MAX_BYTES)

    with pytest.raises(InvalidJSON, match="nested"):
        deeper(limit // 2)


@settings(max_examples=300, deadline=None)
@given(st.text() | st.recursive(st.integers(-(2**64), 2**64) | st.text(), lambda x: st.lists(x, max_size=3)))
def test_any_plain_value_comes_back(value: object) -> None:
    assert read_json(json.dumps(value).encode(), max_bytes=MAX_BYTES) == value


def test_values_and_problems_stay_short() -> None:
    for value in (10**400, "x" * 10**6, ["y" * 99] * 10**5, {"k": [1] * 10**4}, "\x1b[31m\u202e\n", b"\xff" * 999):
        assert len(shown(value)) <= 80 and shown(value).isprintable()
    assert shown("plain") == "'plain'" and shown(1.5) == "1.5" and shown("ü日") == "'ü日'"
    assert listed(["a", "b"]) == "a; b"
    assert listed(["p"] * (MAX_MARKS)).endswith(f"and {MAX_MARKS - 20} more")
