"""Packs that change while they are in use, and what is remembered of checked files."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.trees import copy_tree, replace

from edgetts.api import TTS
from edgetts.errors import PackError
from edgetts.pack import load, verify
from edgetts.pack.load import Pack, open_pack
from edgetts.pack.locate import builtin_pack

NAME = "quantizer.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(builtin_pack(), tmp_path / "a.pack"))


@pytest.fixture
def pack(folder: Path, tmp_path: Path) -> Pack:
    opened = open_pack(folder, home=tmp_path)
    opened.state_dict("quantizer")
    assert opened.is_current()
    opened.check_unchanged()
    return opened


def truncate(path: Path) -> None:
    os.truncate(path, 100)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"x")


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize("change", [truncate, overwrite, grow])
def test_writing_into_a_file_in_use_is_noticed(pack: Pack, change: Callable[[Path], None]) -> None:
    change(pack.path / NAME)
    assert not pack.is_current()
    with pytest.raises(
        PackError, match="quantizer.safetensors was overwritten while it was in use: load the pack again"
    ):
        pack.check_unchanged()


@pytest.mark.parametrize(
    "change",
    [
        lambda path: replace(path, path.read_bytes()),
        lambda path: path.unlink(),
        lambda path: path.rename(f"{path}.old"),
    ],
)
def test_replacing_is_safe_and_noticed_by_who_asks(pack: Pack, change: Callable[[Path], None]) -> None:
    before = pack.state_dict("quantizer")
    change(pack.path / NAME)
    assert not pack.is_current()
    pack.check_unchanged()
    assert all(bool(value.isfinite().all()) for value in before.values())


def test_links_and_rights_are_no_change(pack: Pack, tmp_path: Path) -> None:
    copy_tree(pack.path, tmp_path / "b.pack")
    (pack.path / NAME).chmod(0o600)
    assert pack.is_current()
    pack.check_unchanged()


def test_another_manifest_is_another_pack(pack: Pack) -> None:
    path = pack.path / "manifest.json"
    replace(path, path.read_bytes())
    assert not pack.is_current()


def test_speaking_refuses_before_it_reads(folder: Path, tmp_path: Path) -> None:
    tts = TTS.load(folder, home=tmp_path / "home")
    tts.pack.file("gpt.safetensors")
    overwrite(folder / "gpt.safetensors")
    with pytest.raises(PackError, match="overwritten while it was in use"):
        tts.stream("Hello.")


def test_a_voice_needs_no_other_of_the_pack(folder: Path, tmp_path: Path) -> None:
    tts = TTS.load(folder, home=tmp_path / "home")
    first, second, *_ = tts.ready_voices()
    overwrite(folder / "voices" / f"{second}.safetensors")
    tts = TTS.load(folder, home=tmp_path / "home")
    assert tts.voice().name == tts.voice(first).name == first
    with pytest.raises(PackError, match=f"{second}.safetensors was altered after the pack was made"):
        tts.voice(second)


def test_a_stream_ends_where_a_file_is_written_into(folder: Path, tmp_path: Path) -> None:
    """Else what follows would sound otherwise, without a word."""
    with TTS.load(folder, home=tmp_path / "home").stream("The river ran past the old mill. " * 12, seed=1) as stream:
        next(iter(stream))
        overwrite(folder / "vocoder.safetensors")
        with pytest.raises(PackError, match="overwritten while it was in use"):
            for _ in stream:
                pass


def test_what_was_checked_is_remembered_under_the_home_folder(folder: Path, tmp_path: Path) -> None:
    time.sleep(0.05)  # beyond the clock step: younger files are not remembered
    TTS.load(folder, home=tmp_path / "home").pack.file(NAME)
    memory = tmp_path / "home" / "cache" / "verified.json"
    assert str(folder / NAME) in json.loads(memory.read_bytes())
    assert memory.stat().st_mode & 0o777 == 0o600 and memory.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "spoil", [lambda p: p.chmod(0o666), lambda p: p.write_bytes(b"[" * 10**6), lambda p: p.unlink()]
)
def test_a_memory_that_cannot_be_trusted_is_not(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    time.sleep(0.05)
    n_read = 0

    def counted(path: Path) -> str:
        nonlocal n_read
        n_read += 1
        return real(path)

    real = verify.file_sha256
    monkeypatch.setattr(verify, "file_sha256", counted)
    for _ in range(2):
        open_pack(folder, home=tmp_path).file(NAME)
    assert n_read == 1
    spoil(tmp_path / "cache" / "verified.json")
    open_pack(folder, home=tmp_path).file(NAME)
    assert n_read == 2


def test_a_file_that_was_just_written_is_not_remembered(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another write within the same tick of the clock would leave the same times."""
    monkeypatch.setattr(verify.time, "time_ns", lambda: (folder / NAME).stat().st_ctime_ns + 1)
    open_pack(folder, home=tmp_path).file(NAME)
    assert not (tmp_path / "cache" / "verified.json").exists()


@pytest.mark.parametrize("look", ["check_unchanged", "is_current"])
def test_files_are_opened_while_another_thread_looks(pack: Pack, look: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a daemon is asked to speak while it loads."""
    names = iter(pack.manifest.files)
    of = load.Stamp.of

    class Opening(load.Stamp):
        """Opens another file, as a second thread would meanwhile."""

        @staticmethod
        def of(path: Path) -> load.Stamp | None:  # type: ignore[override]
            pack.used[next(names)] = of(path)
            return of(path)

    monkeypatch.setattr(load, "Stamp", Opening)
    n_before = len(pack.used)
    getattr(pack, look)()
    assert len(pack.used) > n_before
