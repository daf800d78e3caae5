"""What Ctrl-C does while there is nothing to unwind: before a verb runs, and after it has ended.

Python's own way is an exception, whose traceback would be shown in the middle of an import. Imports no more than the
handlers need, so that they are in place as early as possible.
"""

from __future__ import annotations

import os
import signal

EXIT_INTERRUPTED = 130  # 128 + SIGINT, what shells expect


def end_quietly() -> None:
    """From now on, Ctrl-C ends the process at once."""
    _replace(signal.default_int_handler, _leave)


def forget() -> None:
    """Have the interpreter end with our exit code after a Ctrl-C that was dealt with.

    CPython notes when one leaves code that was run from text, as dataclasses and named tuples make theirs while they
    are imported, and then ends itself by the signal although it was caught. Whatever is run from text next clears
    the note.
    """
    exec("pass")


def unwind() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt."""
    _replace(_leave, signal.default_int_handler)


def _replace(old: object, new: signal._HANDLER) -> None:
    # A process that a script put into the background ignores Ctrl-C, and is to go on doing so.
    if signal.getsignal(signal.SIGINT) == old:
        signal.signal(signal.SIGINT, new)


def _leave(_signal: int, _frame: object) -> None:
    os._exit(EXIT_INTERRUPTED)
