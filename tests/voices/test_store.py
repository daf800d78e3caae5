"""Named voices and remembered recordings."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.stored_voices import ENCODERS, make_voice
from hypothesis import given
from hypothesis import strategies as st

from edgetts.errors import UsageError, VoiceError
from edgetts.voices.names import check_name, is_recording, looks_like_path
from edgetts.voices.store import VoiceStore
from edgetts.voices.voice import Voice


def test_add_list_load_remove(store: VoiceStore) -> None:
    assert store.entries() == []
    store.add("zoë", make_voice())
    store.add("anna", make_voice())
    assert store.names() == ["anna", "zoë"]
    assert store.load("anna").name == "anna"
    assert store.load("anna").seconds == 2.5
    store.remove("anna")
    assert store.names() == ["zoë"]
    assert not store.has("anna")


def test_taken_names(store: VoiceStore) -> None:
    store.add("me", make_voice())
    with pytest.raises(UsageError, match="already a voice called 'me'"):
        store.add("me", make_voice())
    store.add("me", make_voice("f" * 64), replace=True)
    assert store.load("me").encoder_id == "f" * 64


def test_unknown_names_say_what_there_is(store: VoiceStore) -> None:
    with pytest.raises(VoiceError, match="none yet"):
        store.load("anna")
    store.add("anna", make_voice())
    store.add("bert", make_voice())
    with pytest.raises(VoiceError, match="did you mean 'anna'"):
        store.load("ana")
    with pytest.raises(VoiceError, match="there are anna, bert"):
        store.remove("xxxxxx")


@pytest.mark.parametrize("name", ["me", "Me-2", "a b", "josé", "声音", "x" * 48, "under_score", "7"])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", "../x", "a/b", "a\\b", "/etc/passwd", "a.wav", "-x", "~", "a\0", "a\nb", "a  b"),
        *("a ", " a", "x" * 49, "con", "LPT1", "a:b", "a*", "\u202eevil", "😀", "\udcff"),
    ],
)
def test_bad_names(name: str, store: VoiceStore) -> None:
    for use in (store.path, store.load, store.remove, store.check_new):
        with pytest.raises(UsageError, match="is not a valid name of a voice"):
            use(name)


@given(st.text(max_size=60))
def test_names_never_leave_the_folder(name: str) -> None:
    store = VoiceStore(Path("/v"), Path("/c"))
    try:
        path = store.path(name)
    except UsageError:
        return
    assert path.parent == Path("/v")
    assert Path(os.path.normpath(path)) == path
    assert len(path.name.encode()) <= 255
    assert not looks_like_path(name)


def test_spellings_of_one_name(store: VoiceStore) -> None:
    store.add("jose\u0301", make_voice())
    assert store.has("jos\u00e9")


def test_other_files_are_passed_over(store: VoiceStore) -> None:
    store.add("me", make_voice())
    for name in ("notes.txt", "..safetensors", ".me.safetensors.abc.part", "a.b.safetensors"):
        (store.voices_dir / name).write_text("x")
    assert store.names() == ["me"]


def put_odd_things_in(store: VoiceStore, elsewhere: Path) -> None:
    """Whatever may lie in the folder beside the voice `good`."""
    store.add("good", make_voice())
    folder = store.voices_dir
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    (folder / "one.safetensors").symlink_to("two.safetensors")
    (folder / "two.safetensors").symlink_to("one.safetensors")
    (folder / "dangling.safetensors").symlink_to(elsewhere / "nothing")
    (folder / "folder.safetensors").mkdir()
    os.mkfifo(folder / "pipe.safetensors")
    make_voice().save(elsewhere / "real.safetensors")
    (folder / "linked.safetensors").symlink_to(elsewhere / "real.safetensors")
    (folder / "weights.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")


def test_odd_things_in_the_folder_break_nothing(store: VoiceStore, tmp_path: Path) -> None:
    put_odd_things_in(store, tmp_path)
    assert store.names() == ["good", "linked", "weights"]
    assert {e.name: e.problem != "" for e in store.entries()} == {
        **dict.fromkeys(["dangling", "folder", "loop", "one", "pipe", "two"], True),
        **dict.fromkeys(["good", "linked", "weights"], False),
    }
    assert store.load("good").seconds == store.load("linked").seconds == 2.5
    for name in ("dangling", "loop", "one", "two"):
        assert not store.has(name)
        with pytest.raises(VoiceError, match=f"'{name}' is a broken link"):
            store.load(name)
        with pytest.raises(UsageError, match="already a voice"):
            store.check_new(name)
    for name in ("folder", "pipe"):
        with pytest.raises(VoiceError, match="in the place of a voice"):
            store.load(name)


def test_remove_takes_links_and_voices_alone(store: VoiceStore, tmp_path: Path) -> None:
    put_odd_things_in(store, tmp_path)
    for name in ("loop", "one", "dangling", "linked", "good"):
        store.remove(name)
        assert not os.path.lexists(store.path(name))
    assert Voice.load(tmp_path / "real.safetensors").seconds == 2.5
    for name in ("folder", "pipe", "weights"):
        with pytest.raises(VoiceError, match="not a voice file"):
            store.remove(name)
        assert os.path.lexists(store.path(name))


def test_a_torn_voice_can_be_removed(store: VoiceStore) -> None:
    store.add("torn", make_voice())
    path = store.path("torn")
    path.write_bytes(path.read_bytes()[:-40])
    store.remove("torn")
    assert store.entries() == []


def test_replacing_a_link_leaves_its_target(store: VoiceStore, tmp_path: Path) -> None:
    put_odd_things_in(store, tmp_path)
    before = (tmp_path / "real.safetensors").read_bytes()
    for name in ("linked", "loop", "dangling"):
        store.add(name, make_voice("f" * 64), replace=True)
        assert not store.path(name).is_symlink()
        assert store.load(name).encoder_id == "f" * 64
    assert (tmp_path / "real.safetensors").read_bytes() == before
    assert not (tmp_path / "nothing").exists()


def test_two_at_once_under_one_name(store: VoiceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find the name free; the second one to be ready is told, and the first one is kept."""
    monkeypatch.setattr(VoiceStore, "check_new", lambda *_, **__: None)
    store.add("same", make_voice("a" * 64))
    with pytest.raises(UsageError, match="already a voice called 'same'"):
        store.add("same", make_voice("b" * 64))
    assert store.load("same").encoder_id == "a" * 64
    assert [p.name for p in store.voices_dir.iterdir()] == ["same.safetensors"], "nothing half-made is left"


def test_two_at_once_where_there_are_no_hard_links(store: VoiceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    test_two_at_once_under_one_name(store, monkeypatch)


def test_many_threads_under_one_name(store: VoiceStore) -> None:
    def add(number: int) -> bool:
        try:
            store.add("same", make_voice(f"{number:064x}"))
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(add, range(16)))
    assert added.count(True) == 1
    assert store.load("same").encoder_id == f"{added.index(True):064x}"


def test_names_that_differ_in_capitals_only(store: VoiceStore) -> None:
    store.add("Anna", make_voice())
    for name in ("anna", "ANNA"):
        for replace in (False, True):
            with pytest.raises(UsageError, match="called 'Anna', which differs"):
                store.add(name, make_voice(), replace=replace)
    store.add("Anna", make_voice("f" * 64), replace=True)
    assert store.names() == ["Anna"]


def test_a_full_disk_leaves_the_old_voice(store: VoiceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add("me", make_voice())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for replace, name in ((True, "me"), (False, "other")):
        with pytest.raises(VoiceError, match="No space left"):
            store.add(name, make_voice("f" * 64), replace=replace)
    notice = store.remember("a" * 64, make_voice())
    assert notice is not None and "No space left" in notice
    assert store.load("me").encoder_id == ENCODERS
    assert [p.name for p in store.voices_dir.iterdir()] == ["me.safetensors"]
    assert list(store.cache_dir.iterdir()) == []


@pytest.mark.parametrize(("reference", "expected"), [("me", False), ("me.wav", True), ("./me", True), ("~/me", True)])
def test_paths_and_names(reference: str, expected: bool) -> None:
    assert looks_like_path(reference) is expected


def test_replacing_takes_voices_alone(store: VoiceStore, tmp_path: Path) -> None:
    put_odd_things_in(store, tmp_path)
    (store.voices_dir / "lora.safetensors").write_bytes(b"weights of something else" * 100)
    for name in ("folder", "pipe", "weights", "lora"):
        with pytest.raises(UsageError, match="move it away"):
            store.add(name, make_voice(), replace=True)
    assert (store.voices_dir / "lora.safetensors").read_bytes() == b"weights of something else" * 100
    for name in ("good", "linked", "dangling"):
        store.add(name, make_voice(), replace=True)
        assert store.load(name).name == name
    assert Voice.load(tmp_path / "real.safetensors").name == "recording"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("me", False),
        ("me.wav", True),
        ("./me", True),
        ("~/voices/me.safetensors", False),
        (Path("me"), True),
        (Path("me.safetensors"), False),
        (None, False),
        (object(), False),
    ],
)
def test_what_is_a_recording(reference: object, expected: bool) -> None:
    assert is_recording(reference) is expected
