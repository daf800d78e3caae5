"""Voices of recordings that were enrolled before: found by content, bounded, only our own files dropped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from helpers.stored_voices import ENCODERS, make_voice

from edgetts.voices import store as voices_store
from edgetts.voices.store import VoiceStore


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
