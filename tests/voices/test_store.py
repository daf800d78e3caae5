"""Named voices and remembered recordings."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgetts.errors import UsageError, VoiceError
from edgetts.voices import store as voices_store
from edgetts.voices.store import VoiceStore, check_name, is_recording, looks_like_path
from edgetts.voices.voice import Voice

ENCODERS = "e" * 64


def make_voice(encoder_id: str = ENCODERS, **adaptation: Any) -> Voice:
    return Voice(
        conditioning_latents=torch.zeros(1, 2, 3),
        emotion_vector=torch.zeros(1, 3),
        emotion_base=torch.zeros(1, 3),
        style=torch.zeros(1, 4),
        reference_codes=torch.zeros(1, 5, dtype=torch.int64),
        reference_mel=torch.zeros(1, 6, 7),
        encoder_id=encoder_id,
        seconds=2.5,
        name="recording",
        **adaptation,
    )


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    return VoiceStore.default(tmp_path / "home")


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


def test_cache_by_content_and_encoders(store: VoiceStore) -> None:
    assert store.cached("a" * 64, ENCODERS) is None
    assert store.remember("a" * 64, make_voice()) is None
    found = store.cached("a" * 64, ENCODERS)
    assert found is not None
    assert found.seconds == 2.5
    assert store.cached("b" * 64, ENCODERS) is None
    assert store.cached("a" * 64, "f" * 64) is None
    assert store.names() == []


def test_an_adapted_voice_is_remembered_beside_the_plain_one(store: VoiceStore) -> None:
    adapted = make_voice(offsets=torch.zeros(1, 3), adapted_to="d" * 64, adapt_steps=7)
    store.remember("a" * 64, make_voice())
    store.remember("a" * 64, adapted)
    plain, found = store.cached("a" * 64, ENCODERS), store.cached("a" * 64, ENCODERS, "d" * 64, 7)
    assert plain is not None and plain.offsets is None
    assert found is not None and found.offsets is not None
    assert store.cached("a" * 64, ENCODERS, "d" * 64, 8) is None
    assert store.cached("a" * 64, ENCODERS, "c" * 64, 7) is None


def test_damaged_cache_is_dropped(store: VoiceStore) -> None:
    store.remember("a" * 64, make_voice())
    (file,) = store.cache_dir.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    notices: list[str] = []
    assert store.cached("a" * 64, ENCODERS, notices=notices) is None
    assert not file.exists()
    assert "damaged" in notices[0]
    assert store.cached("a" * 64, ENCODERS, notices=notices) is None
    assert len(notices) == 1


def test_only_its_own_files_leave_the_cache(store: VoiceStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(voices_store, "MAX_CACHED", 0)
    store.cache_dir.mkdir(parents=True)
    (store.cache_dir / ("0" * 64 + ".safetensors")).symlink_to(tmp_path / ("0" * 64 + ".safetensors"))
    (store.cache_dir / "mine.safetensors").write_text("x")
    (store.cache_dir / ("1" * 64 + ".safetensors")).symlink_to("1" * 64 + ".safetensors")
    store.remember("a" * 64, make_voice())
    assert [p.name for p in store.cache_dir.iterdir()] == ["mine.safetensors"]


def test_cache_is_bounded(store: VoiceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices_store, "MAX_CACHED", 3)
    keys = [c * 64 for c in "abcd"]
    for age, key in enumerate(keys[:3]):
        store.remember(key, make_voice())
        for file in store.cache_dir.iterdir():
            if file.stat().st_mtime > 1e9:
                os.utime(file, (age, age))
    assert store.cached(keys[0], ENCODERS) is not None  # used again: no longer the oldest
    store.remember(keys[3], make_voice())
    assert [store.cached(k, ENCODERS) is not None for k in keys] == [True, False, True, True]


def test_files_of_others_in_the_cache_stay(store: VoiceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices_store, "MAX_CACHED", 1)
    store.cache_dir.mkdir(parents=True)
    torn = store.cache_dir / f".{'e' * 64}.safetensors.x1.part"
    others = [store.cache_dir / name for name in ("mine.safetensors", ".notes.part", "0123.safetensors")]
    for file in (torn, *others):
        file.write_text("mine")
        os.utime(file, (1, 1))
    for key in ("a" * 64, "b" * 64):
        store.remember(key, make_voice())
    assert all(file.exists() for file in others) and not torn.exists()
    assert len(list(store.cache_dir.iterdir())) == len(others) + 1


def test_unwritable_cache_is_a_notice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    notice = VoiceStore(tmp_path / "v", tmp_path / "file" / "c").remember("a" * 64, make_voice())
    assert notice is not None
    assert "could not be cached" in notice


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


def test_torn_files_of_others_stay_in_a_cache_that_is_a_link(store: VoiceStore, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    theirs = [".x.safetensors.y.part", ".model.safetensors.tmp.part", f".{'a' * 63}.safetensors.abc.part"]
    torn = f".{'a' * 64}.safetensors.k3x_9abc.part"
    for name in (*theirs, torn):
        (tmp_path / "mine" / name).write_text("x")
        os.utime(tmp_path / "mine" / name, (0, 0))
    store.cache_dir.parent.mkdir(parents=True, exist_ok=True)
    store.cache_dir.symlink_to(tmp_path / "mine")
    store.remember("recording", make_voice())
    assert [name for name in (*theirs, torn) if not (tmp_path / "mine" / name).exists()] == [torn]


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
