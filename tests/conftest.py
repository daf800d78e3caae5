"""Fixtures that every test may use: the mini checkpoint and the pack converted from it, made once a session."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.mini_checkpoint import write_checkpoint, write_checkpoint_25
from helpers.paths import TESTS

# The recipes are not installed. Behind everything else, so that the package under test is the installed one.
sys.path.append(str(TESTS.parent))

# Triton reads this when it is first imported, which any library may do: before the tests, not in one of them.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Processes that tests start share the cores with the tests: their threads sleep while they wait.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def mini_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder in upstream's layout. Shared: copy it (hard links do) before changing anything."""
    return write_checkpoint(tmp_path_factory.mktemp("mini_checkpoint"))


@pytest.fixture(scope="session")
def mini_pack(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack folder converted from it in fp32. Shared: copy it before changing anything."""
    from edgetts.quant.convert import convert

    return convert(mini_checkpoint, tmp_path_factory.mktemp("packs") / "mini.pack").path


@pytest.fixture(scope="session")
def mini_checkpoint_25(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `mini_checkpoint`, of IndexTTS-2.5."""
    return write_checkpoint_25(tmp_path_factory.mktemp("mini_checkpoint_25"))


@pytest.fixture(scope="session")
def mini_pack_25(mini_checkpoint_25: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `mini_pack`, of IndexTTS-2.5."""
    from edgetts.quant.convert import convert

    return convert(mini_checkpoint_25, tmp_path_factory.mktemp("packs_25") / "mini25.pack").path


@pytest.fixture(autouse=True, scope="session")
def _without_flushing() -> Iterator[None]:
    """What tests write need not survive a power cut, and flushing to the disk is slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _handle: None)
        yield


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests leave the user's folders alone."""
    base = tmp_path_factory.getbasetemp() / "user"
    # What was said once is said again in each test: none depends on which ran before it.
    shutil.rmtree(base / "xdg_cache_home" / "edgetts" / "told", ignore_errors=True)
    for variable in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(base / variable.lower()))
    yield


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small tensors are slower on many threads, and the suite shares its machine."""
    torch.set_num_threads(1)
