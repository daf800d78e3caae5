"""Service notifications as systemd's `sd_notify`: one datagram of `KEY=value` lines.

In: the address from NOTIFY_SOCKET (None: no supervisor) and lines. Sources: sd_notify(3), sd_listen_fds(3).
"""

from __future__ import annotations

import logging
import socket

logger = logging.getLogger(__name__)

READY, STOPPING, WATCHDOG = "READY=1", "STOPPING=1", "WATCHDOG=1"
FIRST_FD = 3  # the first file descriptor that systemd passes


def notify(address: str | None, *lines: str) -> None:
    """Send the lines. Failure is only logged."""
    if address is None:
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto("\n".join(lines).encode(), name)
    except OSError as error:
        logger.warning("cannot notify the supervisor at %s of %s: %s", address, lines[0], error)


def passed_sockets(n: int) -> list[socket.socket]:
    """The listening sockets that a supervisor opened for this process."""
    return [socket.socket(fileno=FIRST_FD + i) for i in range(n)]
