"""Shows the library's log on stderr: `edgetts -v` from INFO, `-vv` from DEBUG.

Without -v nothing is logged: everything that a user must know is a notice or an error.
"""

from __future__ import annotations

import contextlib
import logging

from edgetts.cli.common import to_stderr
from edgetts.errors import printable

_LEVELS = (logging.INFO, logging.DEBUG)


class _ToStderr(logging.Handler):
    """Writes records to the current `sys.stderr`; a traceback keeps its lines. What cannot be written (the disk of a
    log is full, its reader has ended) is lost: it stops neither speech nor a daemon."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):  # ValueError: a closed file
            for line in self.format(record).splitlines():
                to_stderr(printable(line))


_SHORT = "%(relativeCreated)6.0f ms %(levelname)-5s %(name)s: %(message)s"
_WITH_DATE = "%(asctime)s %(levelname)-5s %(name)s: %(message)s"


def show_logs(verbosity: int, *, with_date: bool = False) -> None:
    """Show the logs of `edgetts`. verbosity: number of -v flags. with_date: timestamps with the date, for a daemon,
    instead of milliseconds since the start."""
    logger = logging.getLogger("edgetts")
    for handler in [h for h in logger.handlers if isinstance(h, _ToStderr)]:
        logger.removeHandler(handler)
    if verbosity == 0:
        logger.setLevel(logging.NOTSET)
        return
    handler = _ToStderr()
    handler.setFormatter(logging.Formatter(_WITH_DATE if with_date else _SHORT))
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[min(verbosity, len(_LEVELS)) - 1])
