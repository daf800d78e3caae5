"""Handlers of Ctrl-C before a verb runs and after it has ended: the process exits at once.

Python's default handler would show a traceback in the middle of an import. This module imports only what the handlers
need, so that they are installed early.
"""

from __future__ import annotations

import os
import signal

EXIT_INTERRUPTED = 130  # 128 + SIGINT, what shells expect


def exit_on_interrupt() -> None:
    """From now on, Ctrl-C ends the process at once."""
    _replace(signal.default_int_handler, _leave)


def forget_interrupt() -> None:
    """Make the interpreter end with our exit code after a KeyboardInterrupt that was caught.

    CPython sets a flag if the exception leaves code run by `exec`, which dataclasses and named tuples use when they
    are imported, and then ends by the signal although the exception was caught. The next `exec` clears the flag.
    """
    exec("pass")


def raise_on_interrupt() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt."""
    _replace(_leave, signal.default_int_handler)


def _replace(old: object, new: signal._HANDLER) -> None:
    # A background process of a script ignores SIGINT and must keep ignoring it.
    if signal.getsignal(signal.SIGINT) == old:
        signal.signal(signal.SIGINT, new)


def _leave(_signal: int, _frame: object) -> None:
    os._exit(EXIT_INTERRUPTED)
