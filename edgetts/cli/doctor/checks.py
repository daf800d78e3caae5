"""All checks, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgetts.cli.common import ProgressBar, importing
from edgetts.cli.doctor import around, machine, model
from edgetts.cli.doctor.finding import Finding, State, broken
from edgetts.cli.environment import Environment
from edgetts.errors import EdgeTTSError
from edgetts.pack.locate import cache_folder
from edgetts.server.systemd import lingers, scopes
from edgetts.voices.store import VoiceStore


def run_checks(known: Environment, pack: str | None, device: str) -> Iterator[Finding]:
    """Yields each result as soon as it is known. pack, device: as given on the command line."""
    yield machine.check_python()
    with importing():
        torch = machine.check_torch()
    yield torch
    with ProgressBar() as progress:
        packs = model.check_packs(known.home, pack, progress)
    yield from packs
    pack_path: Path | None = None
    encoder_id: str | None = None
    if torch.state is State.OK:
        found = machine.check_device(device)
        yield found
        if found.state is not State.BROKEN and packs[0].state is State.OK:
            speaking = _Speaking(known, pack, device)
            yield from speaking.findings()
            pack_path, encoder_id = speaking.pack_path, speaking.encoder_id
    yield from model.check_voices(VoiceStore.default(known.home), encoder_id)
    yield machine.check_sound()
    yield machine.check_caches(cache_folder(known.home))
    yield around.check_daemon(known.daemon_socket, pack_path)
    of_user, of_system = scopes(known.config_home)
    yield from around.check_units((of_user, of_system))
    lingering = around.check_lingering(of_user, lingers=lingers())
    if lingering is not None:
        yield lingering
    yield around.check_token_variable(known.token)


class _Speaking:
    """The checks that need the pack in memory."""

    def __init__(self, known: Environment, pack: str | None, device: str) -> None:
        self._known, self._pack, self._device = known, pack, device
        self.pack_path: Path | None = None
        self.encoder_id: str | None = None

    def findings(self) -> Iterator[Finding]:
        from edgetts.api import TTS
        from edgetts.memory import device_memory

        known = self._known
        try:
            tts = TTS.load(self._pack, device=self._device, home=known.home, kernel=known.kernel or "auto")
        except EdgeTTSError as error:
            yield broken("kernels", str(error).rstrip("."))
            return
        manifest = tts.pack.manifest
        self.pack_path, self.encoder_id = tts.pack.path, manifest.encoder_id
        memory = device_memory(tts.device)
        if memory is not None:
            budget = model.recipe_budget(manifest.recipe)
            yield model.check_memory(manifest, model.needed_bytes(tts), memory.free, memory.total, budget)
        with ProgressBar() as progress:
            progress("speaking a word", 0.5)
            spoken = model.check_speech(tts)
        yield spoken
