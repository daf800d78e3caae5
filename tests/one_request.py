"""One parameter of a call, from the command line to sound, as a list of hops: run before and after a refactoring.

    python tests/one_request.py            # counts of text, voice and a code
    python tests/one_request.py voice      # and the hops of one of them

`edgetts say TEXT --voice NAME --raw --no-daemon` with the built-in model runs in this process, and each call of a
function of edgetts is looked at. A *hop* is a function `file:function` that the parameter, or what was made of it,
reaches: as an argument, or as the result of a function that it called. Each counts once, in the order of the first time.
A *return* is a function of a higher layer (`tests/test_layers.py`) that a lower one calls with the parameter: a callback.
Objects count where they hold the parameter in a field; `self` does not count. What happens inside reading rules, networks
and kernels is left out.

- text: a string with its word, token ids with the word's ids, the prompt made of these
- voice: its name or file, `Voice`, `Speaker`, their tensors, the prompt made of these
- code: the first one, candidates, lists with it; then features, mel and samples made of it, down to the output
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from inspect import CO_VARARGS
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from test_layers import RANK, layer_of

import edgetts
from edgetts.decoding.prompt import GPTPrompt

SOURCES = Path(edgetts.__file__).resolve().parent
WORD, NAME, SEED = "marigold", "am_michael", 1
TEXT = f"The {WORD} opened."
LEFT_OUT = (
    "text/readings/",
    "text/multilingual/",
    "models/",
    "native/",
    "backends/linear.py",
    "progress.py",
    "errors.py",
)
DEPTH = 3  # of fields in fields


def parts_of(value: Any, depth: int = DEPTH, *, numbers: bool = False) -> Iterator[Any]:
    """A value, and what it holds: items of short collections, fields of dataclasses; numbers: single numbers, too."""
    yield value
    inner: list[Any] = []
    if depth == 0 or isinstance(value, type):
        return
    if isinstance(value, (list, tuple)) and len(value) <= 64:
        inner = list(value)
    elif isinstance(value, dict) and len(value) <= 64:
        inner = list(value.values())
    elif dataclasses.is_dataclass(value):
        inner = [getattr(value, f.name, None) for f in dataclasses.fields(value)]
    for each in inner:
        if numbers or not isinstance(each, (int, float, bool, type(None))):
            yield from parts_of(each, depth - 1, numbers=numbers)


def numbers_of(value: Any) -> list[int]:
    """The whole numbers of a flat collection or of an integer tensor."""
    if isinstance(value, torch.Tensor):
        return value.flatten().tolist() if value.dtype in (torch.int32, torch.int64) and value.numel() < 4096 else []
    if isinstance(value, (list, tuple)) and value and type(value[0]) is int:
        return [n for n in value if type(n) is int]
    return []


def holds_run(numbers: list[int], run: list[int]) -> bool:
    return any(numbers[i : i + len(run)] == run for i in range(len(numbers) - len(run) + 1))


class Text:
    def __init__(self) -> None:
        with edgetts.TTS.load() as tts:
            ids = [int(i) for i in tts.frontend().segments(TEXT).segments[0].ids]
        self._ids = ids[1:-1]  # without what stands at the ends of any text

    def __call__(self, value: Any) -> bool:
        for part in parts_of(value):
            if isinstance(part, str) and WORD in part.casefold():
                return True
            if isinstance(part, GPTPrompt) or holds_run(numbers_of(part), self._ids):
                return True
        return False


class Speaking:
    """A voice."""

    def __init__(self) -> None:
        self._tensors: set[int] = set()
        self._kept: list[Any] = []

    def __call__(self, value: Any) -> bool:
        for part in parts_of(value):
            if type(part).__name__ in ("Voice", "Speaker"):
                tensors = [t for t in vars(part).values() if isinstance(t, torch.Tensor)]
                self._kept.append(tensors)  # so that no other gets the address of one
                self._tensors |= {id(t) for t in tensors}
                return True
            if isinstance(part, (str, Path)) and NAME in str(part):
                return True
            if isinstance(part, GPTPrompt) or (isinstance(part, torch.Tensor) and id(part) in self._tensors):
                return True
        return False


class Code:
    """The first code. What functions make of it is known by the storage of its tensor."""

    def __init__(self) -> None:
        with edgetts.TTS.load() as tts:
            (segment,) = tts.say(TEXT, voice=NAME, seed=SEED).segments
        self._first = int(segment.codes[0])
        self._derived: set[int] = set()
        self._kept: list[Any] = []

    def __call__(self, value: Any) -> bool:
        return any(self._is_it(part) for part in parts_of(value, numbers=True))

    def _is_it(self, part: Any) -> bool:
        if isinstance(part, torch.Tensor):
            return part.untyped_storage().data_ptr() in self._derived
        if type(part) is int:
            return part == self._first
        if isinstance(part, np.ndarray):
            return len(part) > 0  # samples: no recording is read in this call
        return numbers_of(part)[:1] == [self._first]

    def derive(self, result: Any) -> None:
        """A function that got the code gave this."""
        for part in parts_of(result):
            if isinstance(part, torch.Tensor):
                self._kept.append(part)
                self._derived.add(part.untyped_storage().data_ptr())


class Trace:
    """Hops of one parameter, in the order of their first time: the function, and where it came from."""

    def __init__(self, carries: Callable[[Any], bool], begins: str) -> None:
        """begins: the folder in which the parameter is made; what equals it earlier is not it."""
        self.hops: dict[str, str] = {}
        self.returns: dict[str, str] = {}
        self._carries = carries
        self._begins = begins
        self._lock = threading.RLock()
        self._busy = threading.local()
        self._got_it: dict[int, bool] = {}  # by frame

    def __call__(self, frame: FrameType, event: str, value: Any) -> None:
        if event not in ("call", "return") or getattr(self._busy, "now", False) or not (here := name_of(frame)):
            return
        self._busy.now = True
        try:
            with self._lock:
                self._look(frame, event, value, here)
        finally:
            self._busy.now = False

    def _look(self, frame: FrameType, event: str, value: Any, here: str) -> None:
        if not here.startswith(self._begins):
            return
        outer = frame.f_back
        while outer is not None and not name_of(outer):
            outer = outer.f_back
        caller = "" if outer is None else name_of(outer)
        if event == "call":
            code = frame.f_code
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)]
            given = [frame.f_locals[n] for n in names if n in frame.f_locals and n not in ("self", "cls")]
            self._got_it[id(frame)] = self._carries(given)
            if self._got_it[id(frame)]:
                self._begins = ""
                self.hops.setdefault(here, caller)
                if caller and rank(here) > rank(caller):
                    self.returns.setdefault(here, caller)
            return
        if self._got_it.pop(id(frame), False) and isinstance(self._carries, Code):
            self._carries.derive(value)
        if caller and self._carries(value):
            self._begins = ""
            self.hops.setdefault(here, caller)
            self.hops.setdefault(caller, here)


def name_of(frame: FrameType) -> str:
    """`file:function`, empty outside of edgetts and inside what is left out."""
    file = frame.f_code.co_filename
    if not file.startswith(str(SOURCES)) or frame.f_code.co_name == "<module>":
        return ""
    inner = file[len(str(SOURCES)) + 1 :]
    function = getattr(frame.f_code, "co_qualname", frame.f_code.co_name).replace("<locals>.", "")
    while function.endswith(("comp>", "genexpr>", "lambda>")) and "." in function:
        function = function.rpartition(".")[0]  # part of the function around it
    return "" if inner.startswith(LEFT_OUT) else f"{inner}:{function}"


def rank(name: str) -> int:
    return RANK[layer_of("edgetts." + name.partition(":")[0].removesuffix(".py").replace("/", "."))]


def say() -> None:
    from edgetts.cli.app import run

    sys.argv = ["edgetts", "say", TEXT, "--voice", NAME, "--raw", "--no-daemon", "--quiet", "--seed", str(SEED)]
    with contextlib.suppress(SystemExit):
        run()


def traced(carries: Callable[[Any], bool], begins: str) -> Trace:
    trace = Trace(carries, begins)
    stdout = os.dup(1)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        threading.setprofile(trace)
        sys.setprofile(trace)
        try:
            say()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
            sys.stdout.flush()
            os.dup2(stdout, 1)
    return trace


def main() -> None:
    shown = sys.argv[1:]
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"EDGETTS_HOME": home, "XDG_DATA_HOME": home}
        for name, carries, begins in (("text", Text(), ""), ("voice", Speaking(), ""), ("code", Code(), "decoding/")):
            trace = traced(carries, begins)
            files = {hop.partition(":")[0] for hop in trace.hops}
            print(f"{name}: {len(trace.hops)} hops in {len(files)} files, {len(trace.returns)} returns")
            for number, (hop, caller) in enumerate(trace.hops.items(), 1):
                if name in shown:
                    print(f"  {number:3} {hop}  (from {caller or 'the entry'})")
            for hop, caller in trace.returns.items():
                print(f"  return: {caller} calls {hop}")


if __name__ == "__main__":
    main()
