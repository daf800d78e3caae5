"""Named voices and remembered recordings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgetts import voices_store
from edgetts.errors import UsageError, VoiceError
from edgetts.voice import Voice
from edgetts.voices_store import VoiceStore, check_name, looks_like_path

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
        with pytest.raises(UsageError, match="cannot be the name of a voice"):
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
    assert store.cached("a" * 64, ENCODERS) is None
    assert not file.exists()


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


def test_unwritable_cache_is_a_notice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    notice = VoiceStore(tmp_path / "v", tmp_path / "file" / "c").remember("a" * 64, make_voice())
    assert notice is not None
    assert "not remembered" in notice


@pytest.mark.parametrize(("reference", "expected"), [("me", False), ("me.wav", True), ("./me", True), ("~/me", True)])
def test_paths_and_names(reference: str, expected: bool) -> None:
    assert looks_like_path(reference) is expected
