"""Announces the Wyoming address in the local network (zeroconf, also called mDNS), so that Home Assistant finds it.

Needs the package `zeroconf`, of the extra `wyoming`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator

from edgetts.errors import UsageError

TYPE = "_wyoming._tcp.local."
_MDNS = ("224.0.0.251", 5353)  # connecting a UDP socket sends nothing, and chooses the interface


@contextlib.asynccontextmanager
async def announced(name: str, host: str, port: int) -> AsyncIterator[None]:
    """Announced inside the block. host: the address that is listened on. Raises UsageError."""
    from zeroconf import Error
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    addresses = [ipaddress.ip_address(reachable(host)).packed]
    info = AsyncServiceInfo(TYPE, f"{name}.{TYPE}", addresses=addresses, port=port)
    announcer = AsyncZeroconf()
    try:
        try:
            await announcer.async_register_service(info)
        except (Error, OSError) as error:
            reason = str(error) or type(error).__name__
            raise UsageError(f"The name {name!r} cannot be announced in the network ({reason}).") from None
        yield
    finally:
        await announcer.async_close()


def reachable(host: str) -> str:
    """An address by which others reach what listens on `host`. Raises UsageError without a network."""
    if not ipaddress.ip_address(host).is_unspecified:
        return host
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(_MDNS)
            found: str = sock.getsockname()[0]
            return found
    except OSError as error:
        raise UsageError(f"There is no network to announce in ({error.strerror or error}).") from None
