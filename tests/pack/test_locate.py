"""Which pack is meant, and where things are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetts.errors import PackError
from edgetts.pack import locate
from edgetts.pack.locate import BUILTIN_NOTICE, cache_folder, data_folder, locate_pack


@pytest.fixture(autouse=True)
def no_builtin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    builtin = tmp_path / "builtin"
    monkeypatch.setattr(locate, "builtin_pack", lambda: builtin)
    return builtin


def test_order(tmp_path: Path, no_builtin: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(PackError, match="no model pack on this machine yet"):
        locate_pack(None, home)
    no_builtin.mkdir()
    (no_builtin / "manifest.json").write_text("{}")
    assert locate_pack(None, home).path == no_builtin
    assert locate_pack(None, home).notice == BUILTIN_NOTICE
    default = home / "packs" / "default"
    default.mkdir(parents=True)
    assert locate_pack(None, home) == locate.LocatedPack(default, is_builtin=False)
    assert locate_pack(None, home).notice is None
    assert locate_pack(str(no_builtin), home).is_builtin


def test_by_path_and_by_name(tmp_path: Path) -> None:
    home = tmp_path / "home"
    named = home / "packs" / "small"
    named.mkdir(parents=True)
    assert locate_pack("small", home).path == named
    assert locate_pack(named, home).path == named


def test_the_built_in_one_has_a_name(tmp_path: Path, no_builtin: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(PackError, match="no model pack at builtin"):
        locate_pack("builtin", home)
    no_builtin.mkdir()
    (no_builtin / "manifest.json").write_text("{}")
    (home / "packs" / "default").mkdir(parents=True)
    assert locate_pack("builtin", home) == locate.LocatedPack(no_builtin, is_builtin=True)
    own = home / "packs" / "builtin"
    own.mkdir()
    assert locate_pack("builtin", home) == locate.LocatedPack(own, is_builtin=False)


@pytest.mark.parametrize("given", ["", "nope", "../small", "/no/such", "a\0b", "x" * 5000, "~nobody-here/x"])
def test_nowhere(given: str, tmp_path: Path) -> None:
    with pytest.raises(PackError, match="pack"):
        locate_pack(given, tmp_path)


def test_folders(tmp_path: Path) -> None:
    assert data_folder(tmp_path) == tmp_path
    assert cache_folder(tmp_path) == tmp_path / "cache"
    assert data_folder().name == cache_folder().name == "edgetts"
