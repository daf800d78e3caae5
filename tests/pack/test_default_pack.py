"""The default pack that the user chose: written atomically, read strictly, found again or reported as missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetts.errors import PackError
from edgetts.pack import locate
from edgetts.pack.default_pack import DEFAULT_FILE, forget_default, read_default, write_default
from edgetts.pack.locate import LocatedPack, known_packs, locate_pack


@pytest.fixture(autouse=True)
def builtin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = pack_at(tmp_path / "builtin")
    monkeypatch.setattr(locate, "builtin_pack", lambda: folder)
    return folder


def pack_at(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def test_the_chosen_pack_comes_before_the_one_called_default(tmp_path: Path, builtin: Path) -> None:
    pack_at(tmp_path / "packs" / "default")
    small, elsewhere = pack_at(tmp_path / "packs" / "small"), pack_at(tmp_path / "elsewhere")
    write_default(tmp_path, "small")
    assert locate_pack(None, tmp_path) == LocatedPack(small, is_builtin=False)
    write_default(tmp_path, str(elsewhere))
    assert locate_pack(None, tmp_path) == LocatedPack(elsewhere, is_builtin=False)
    write_default(tmp_path, "builtin")
    assert locate_pack(None, tmp_path) == LocatedPack(builtin, is_builtin=True)
    forget_default(tmp_path)
    forget_default(tmp_path)
    assert locate_pack(None, tmp_path).path == tmp_path / "packs" / "default"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["builtin", "elsewhere", "packs"]


def test_a_default_that_is_gone_is_said_and_nothing_else_speaks(tmp_path: Path) -> None:
    pack_at(tmp_path / "packs" / "large")
    write_default(tmp_path, "small")
    with pytest.raises(PackError, match=r"default pack small is not there anymore .*packs use NAME.*there are large"):
        locate_pack(None, tmp_path)
    assert locate_pack("large", tmp_path)
    (tmp_path / "packs" / "small").symlink_to(tmp_path / "nowhere")
    with pytest.raises(PackError, match="not there anymore"):
        locate_pack(None, tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ('"small"', "not a table of a format and a pack"),
        ("{}", "not a table of a format and a pack"),
        ('{"format": 1}', "not a table"),
        ('{"format": 1, "pack": "small", "more": 2}', "not a table"),
        ('{"format": 2, "pack": "small"}', "its format is 2, and this edgetts reads 1"),
        ('{"format": true, "pack": "small"}', "its format is True"),
        ('{"format": 1, "pack": 3}', "3 is neither a name nor an absolute path"),
        ('{"format": 1, "pack": ""}', "neither a name"),
        ('{"format": 1, "pack": "../small"}', "neither a name"),
        ('{"format": 1, "pack": "a/b"}', "neither a name"),
        ('{"format": 1, "pack": ".hidden"}', "neither a name"),
        ('{"format": 1, "pack": "/a\\u0000"}', "neither a name"),
        ('{"format": 1, "pack": "a", "pack": "b"}', "does not name a default pack"),
        ("x" * 20_000, "bytes long"),
    ],
)
def test_damaged(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / DEFAULT_FILE).write_text(text)
    with pytest.raises(PackError) as caught:
        locate_pack(None, tmp_path)
    assert words in str(caught.value) and "choose the default again with `edgetts packs use NAME`" in str(caught.value)
    write_default(tmp_path, "small")
    assert read_default(tmp_path) == "small"


def test_in_the_place_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / DEFAULT_FILE
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(PackError, match="is a broken link"):
        read_default(tmp_path)
    write_default(tmp_path, "small")
    assert not path.is_symlink() and not (tmp_path / "nowhere").exists()
    path.unlink()
    path.mkdir()
    for fails in (read_default, forget_default, lambda folder: write_default(folder, "small")):
        with pytest.raises(PackError, match=DEFAULT_FILE):
            fails(tmp_path)
    (tmp_path / "file").write_text("")
    assert read_default(tmp_path / "file") is None
    with pytest.raises(PackError, match="could not be remembered"):
        write_default(tmp_path / "file", "small")


def test_a_name_means_the_pack_although_a_folder_here_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless that folder is a pack, too."""
    named, here = pack_at(tmp_path / "home" / "packs" / "small"), tmp_path / "here"
    (here / "small").mkdir(parents=True)
    monkeypatch.chdir(here)
    assert locate_pack("small", tmp_path / "home").path == named
    (here / "small" / "manifest.json").write_text("{}")
    assert locate_pack("small", tmp_path / "home").path == Path("small")
    assert locate_pack("./small", tmp_path / "home").path == Path("small")


def test_known_packs(tmp_path: Path) -> None:
    assert known_packs(tmp_path) == {}
    for name in ("b", "a", ".staging"):
        pack_at(tmp_path / "packs" / name)
    (tmp_path / "packs" / "no-pack").mkdir()
    assert list(known_packs(tmp_path)) == ["a", "b"]
    with pytest.raises(PackError, match="no model pack at nope; .*there are a, b"):
        locate_pack("nope", tmp_path)
    pack_at(tmp_path / "packs" / "indextts-2")
    with pytest.raises(PackError, match=r"did you mean indextts-2\?"):
        locate_pack("indextts2", tmp_path)
