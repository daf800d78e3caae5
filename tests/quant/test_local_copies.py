"""What is on this machine already is copied instead of fetched, and only what has the published checksum."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from helpers.downloads import Source, is_whole, names, plan
from helpers.fake_hub import BIGVGAN, OWN, FakeHub

from edgetts.quant.download import download


@pytest.fixture
def cache(hub: FakeHub, tmp_path: Path) -> Path:
    """A cache of huggingface_hub with two files of the checkpoint."""
    folder = tmp_path / "cache"
    for repository, name in ((OWN, "gpt.pth"), (BIGVGAN, "config.json")):
        data = hub.repositories[repository][name]
        cached = folder / f"models--{repository.replace('/', '--')}"
        is_large = name == "gpt.pth"
        header = b"" if is_large else b"blob %d\0" % len(data)
        blob = cached / "blobs" / hashlib.new("sha256" if is_large else "sha1", header + data).hexdigest()
        blob.parent.mkdir(parents=True)
        blob.write_bytes(data)
        (cached / "snapshots" / "abc").mkdir(parents=True)
        (cached / "snapshots" / "abc" / name).symlink_to(blob)
    return folder


def test_a_hub_cache_is_copied_from(hub: FakeHub, source: Source, tmp_path: Path, cache: Path) -> None:
    planned = plan(hub, source, tmp_path / "c", reuse=[tmp_path / "none", cache])
    assert set(planned.copies) == {"gpt.pth", "hf_cache/bigvgan/config.json"}
    assert planned.copy_bytes == 400_000 + len(hub.repositories[BIGVGAN]["config.json"])
    assert planned.fetch_bytes == planned.total_bytes - planned.copy_bytes
    download(planned)
    assert is_whole(hub, tmp_path / "c")
    assert not [path for path, _ in hub.requests if "/cdn/" in path and path.endswith("gpt.pth")]


def test_a_checkout_is_copied_from_and_left_alone(hub: FakeHub, source: Source, tmp_path: Path) -> None:
    checkout = tmp_path / "checkpoints"
    checkout.mkdir()
    for name in ("gpt.pth", "s2mel.pth", "config.yaml"):
        (checkout / name).write_bytes(hub.repositories[OWN][name])
    planned = plan(hub, source, tmp_path / "c", reuse=[checkout])
    assert {"gpt.pth", "s2mel.pth", "config.yaml"} == set(planned.copies)
    download(planned)
    assert is_whole(hub, tmp_path / "c") and names(checkout) == {"gpt.pth", "s2mel.pth", "config.yaml"}


@pytest.mark.parametrize("kind", ["same size", "shorter meanwhile", "gone meanwhile"])
def test_a_wrong_copy_is_fetched_instead(hub: FakeHub, source: Source, tmp_path: Path, kind: str) -> None:
    checkout = tmp_path / "checkpoints"
    checkout.mkdir()
    (checkout / "gpt.pth").write_bytes(b"x" * 400_000)
    planned = plan(hub, source, tmp_path / "c", reuse=[checkout])
    assert set(planned.copies) == {"gpt.pth"}
    if kind == "gone meanwhile":
        (checkout / "gpt.pth").unlink()
    elif kind == "shorter meanwhile":
        (checkout / "gpt.pth").write_bytes(hub.repositories[OWN]["gpt.pth"][:1000])
    download(planned)
    assert is_whole(hub, tmp_path / "c")
