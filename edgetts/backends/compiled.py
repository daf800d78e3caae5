"""Background compilation: a plain function serves until its compiled form is ready.

In: a plain function and a compiler. Out: the plain function until the compiled one has run once for every form of
arguments seen, then the compiled one. Compilation takes seconds to minutes and runs in its own thread, so speech does
not wait for it. If it fails, the plain function stays and `problem` says why. It does not know what is compiled.

torch.compile counts recompilations per code object and refuses after eight, in all of a process. A function that each
model compiles for itself therefore gets a code object of its own (`own_code`). The decoding step is compiled once for
all models (`runners.compiled_step`): there a refusal means the eager step and a notice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
Compiler = Callable[[Callable[..., Any]], Callable[..., Any]]


def own_code(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same Python function over a copy of its code object, which has a cache of compiled forms to itself."""
    assert isinstance(function, FunctionType)
    code = function.__code__.replace()
    copied = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


def is_compiler_error(error: Exception) -> bool:
    """Whether torch.compile itself failed; nothing has run then."""
    # Slow to import (1 s), and already imported if anything was compiled.
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    return isinstance(error, TorchDynamoException | FailOnRecompileLimitHit)


class Swapped(Generic[FunctionT]):
    """`seen` reports arguments; `current` returns the function to use."""

    def __init__(self, plain: FunctionT, compiler: Compiler) -> None:
        self._plain = plain
        self._compiler = compiler
        self._thread: threading.Thread | None = None
        self._made: FunctionT | None = None
        self._shapes: set[tuple[Any, ...]] = set()  # forms of arguments compiled or queued
        self._waiting: list[tuple[Any, ...]] = []
        self._lock = threading.Lock()
        self._guarded: Any = self._run_made  # one object: callers compare
        self.problem = ""

    def seen(self, *arguments: Any) -> None:
        """Compile for arguments of this form in the background; the arguments are kept until that is done."""
        form = _form(arguments)
        with self._lock:
            if self.problem or form in self._shapes:
                return
            self._shapes.add(form)
            self._waiting.append(arguments)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="edgetts-compile", daemon=True)
                self._thread.start()

    def current(self) -> FunctionT:
        """The compiled function once it is ready for every form seen, the plain one until then."""
        with self._lock:
            is_ready = self._made is not None and not self._waiting and self._thread is None and not self.problem
            return self._guarded if is_ready else self._plain

    def _run_made(self, *arguments: Any) -> Any:
        """The compiled function; the plain one, and `problem`, if it must be compiled again here and cannot."""
        made = self._made
        if made is None or self.problem:
            return self._plain(*arguments)
        try:
            return made(*arguments)
        except Exception as error:
            if not is_compiler_error(error):
                raise
            with self._lock:
                self.problem = _first_line(error)
            return self._plain(*arguments)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until no compilation is running, for warm-ups."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _work(self) -> None:
        made: Any = None
        while True:
            with self._lock:
                if not self._waiting:
                    self._made, self._thread = made or self._made, None
                    return
                arguments = self._waiting[0]
            try:
                made = made or self._made or self._compiler(self._plain)
                with torch.inference_mode():
                    made(*arguments)
            # Compilers raise many exception types, and the plain function gives the same result.
            except Exception as error:
                with self._lock:
                    self.problem = _first_line(error)
                    self._waiting.clear()
                    self._thread = None
                return
            with self._lock:
                self._waiting.pop(0)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _form(value: Any) -> Any:
    """What torch.compile specializes on: dtypes, devices, inference tensors and ranks; of sizes only 0, 1 or more."""
    if isinstance(value, Tensor):
        return (value.dtype, value.device, value.is_inference(), *(_form(size) for size in value.shape))
    if isinstance(value, tuple):
        return tuple(_form(each) for each in value)
    return min(value, 2) if isinstance(value, int) else value
