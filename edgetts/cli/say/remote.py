"""Finds a daemon on this machine that can serve a request of `edgetts say`, so that nothing is loaded here.

A daemon is used if it would make the same sound: same pack, device, compute mode, kernel, memory budget and
voices folder, and a voice with a name.
Otherwise this process synthesizes, or, with --socket, that is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetts.cli.environment import Environment
from edgetts.errors import UsageError
from edgetts.pack.locate import LocatedPack
from edgetts.voices.names import looks_like_path, voices_folder

if TYPE_CHECKING:
    from edgetts.server.client import Connection
    from edgetts.voices.voice import Voice

logger = logging.getLogger(__name__)


def find_daemon(
    voices: Iterable[str | Path | Voice | None],
    known: Environment,
    located: LocatedPack,
    *,
    chosen: Path | None,
    pack: str | None,
    device: str | None,
    compute: str | None,
    budget: int | None,
) -> Connection | None:
    """A connection to a suitable daemon, or None.

    voices: of the speech and of its emotion. chosen: the socket given by the user. pack, device, compute, budget: the
    flags of this call, None if not given. Raises UsageError if there is no suitable daemon at `chosen`.
    """
    path = chosen or known.daemon_socket
    if chosen is None and (path is None or not path.exists()):
        return None
    if chosen is None and any(voice is not None and looks_like_path(str(voice)) for voice in voices):
        logger.info("no daemon: the voice is a file")
        return None
    from edgetts.server.client import connect

    asked_device = device or known.device
    wants = {
        # A daemon that was named, such as that of the machine, speaks with its own pack and voices.
        "pack": str(located.path.resolve()) if chosen is None or pack is not None else None,
        "voices": str(voices_folder(known.home).absolute()) if chosen is None else None,
        "device": None if asked_device == "auto" else asked_device,
        "compute": compute,
        "kernel": None if known.kernel == "auto" else known.kernel,
        "budget": budget,
    }
    found = connect(path, is_chosen=chosen is not None, wants=wants)
    if isinstance(found, str):
        logger.info("no daemon: %s", found)
        return None
    logger.info("using the daemon at %s", path)
    return found


def check_daemon(playing: Mapping[str, Any], daemon: Connection | None) -> None:
    """Raises UsageError where the playback needs a daemon and there is none."""
    flag = "--play-on server" if playing.get("plays") == "server" else "--interrupt"
    if daemon is None and (playing.get("plays") == "server" or playing.get("interrupts")):
        raise UsageError(
            f"{flag} needs a daemon with this pack and voice: start `edgetts serve`; `edgetts -v say` logs why not."
        )
