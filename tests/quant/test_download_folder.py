"""What lies in the folder of a download: links, files of others, copies, altered files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from helpers.downloads import fetch, names
from helpers.fake_hub import OWN, FakeHub

from edgetts.errors import DownloadError, UsageError
from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.quant.download import download, plan_download
from edgetts.quant.download_folder import PARTS_FOLDER
from edgetts.quant.download_record import RECORD_FILE

pytest.importorskip("huggingface_hub", reason="needs the extra `download`")


def test_files_of_others_are_left_alone(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "gpt.pth").write_bytes(b"my own fine-tuned weights")
    with pytest.raises(UsageError, match=r"not the published ones: gpt\.pth.*replace="):
        fetch(hub, tmp_path)
    assert names(tmp_path) == {"gpt.pth"}
    assert "gpt.pth" in fetch(hub, tmp_path, replace=True).fetched


@pytest.mark.parametrize("record", ["", "[]", '{"format": 99, "files": {}}', '{"format": 1, "files": {"gpt.pth": 3}}'])
def test_damaged_record_costs_a_check_only(hub: FakeHub, tmp_path: Path, record: str) -> None:
    fetch(hub, tmp_path)
    (tmp_path / RECORD_FILE).write_text(record)
    assert fetch(hub, tmp_path).fetched == ()
    assert json.loads((tmp_path / RECORD_FILE).read_text())["commits"][OWN] == hub.commit(OWN)


def test_folders_that_cannot_be_used(hub: FakeHub, tmp_path: Path, mini_pack: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        fetch(hub, tmp_path / "file")
    with pytest.raises(UsageError, match="is a model pack"):
        fetch(hub, mini_pack)
    with pytest.raises(DownloadError, match="cannot be written to"):
        fetch(hub, tmp_path / "file" / "folder")


def test_two_at_once(hub: FakeHub, tmp_path: Path) -> None:
    plan = plan_download(tmp_path, INDEXTTS_2, endpoint=hub.url)
    refused: list[str] = []

    def again(*_: object) -> None:
        if not refused:
            with pytest.raises(DownloadError, match="Another download") as caught:
                download(plan)
            refused.append(str(caught.value))

    download(plan, progress=again)
    assert refused


def plant(folder: Path, kind: str) -> tuple[Path, str]:
    """Something in the way of a download, and the word that the refusal must hold; the victim is `folder/../victim`."""
    victim = folder.parent / "victim"
    victim.write_text("dear")
    parts = folder / PARTS_FOLDER
    if kind == "parts":
        (folder.parent / "elsewhere").mkdir()
        parts.symlink_to(folder.parent / "elsewhere")
        return parts, PARTS_FOLDER
    if kind == "record":
        (folder / RECORD_FILE).symlink_to(victim)
        return folder / RECORD_FILE, RECORD_FILE
    if kind in ("file", "dangling"):
        (folder / "gpt.pth").symlink_to(victim if kind == "file" else "nowhere")
        return folder / "gpt.pth", "gpt.pth"
    if kind == "folder":
        (folder.parent / "elsewhere").mkdir()
        (folder / "hf_cache").symlink_to(folder.parent / "elsewhere")
        return folder / "hf_cache", "cannot be written to"
    parts.mkdir()
    planted = parts / ("record.new" if kind == "new record" else kind.split()[1])
    os.link(victim, planted) if kind.startswith("hard") else planted.symlink_to(victim)
    return planted, "cannot be written to" if kind == "new record" else "not made by edgetts"


@pytest.mark.parametrize(
    "kind", ["parts", "record", "file", "dangling", "folder", "new record", "link GPT", "hard GPT"]
)
def test_planted_links_are_not_followed(hub: FakeHub, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    digest = hashlib.sha256(hub.repositories[OWN]["gpt.pth"]).hexdigest()
    planted, words = plant(folder, kind.replace("GPT", f"{digest}.part"))
    with pytest.raises((UsageError, DownloadError), match=words):
        fetch(hub, folder)
    assert (tmp_path / "victim").read_text() == "dear" and os.path.lexists(planted)
    assert not (tmp_path / "nowhere").exists()
    assert not list((tmp_path / "elsewhere").glob("*"))


def test_force_replaces_a_link_and_not_what_it_leads_to(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("dear")
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "gpt.pth").symlink_to(tmp_path / "victim")
    fetch(hub, folder, replace=True)
    assert not (folder / "gpt.pth").is_symlink() and (tmp_path / "victim").read_text() == "dear"


def test_the_folder_may_be_given_by_a_link(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assert fetch(hub, tmp_path / "link").folder == tmp_path / "disk"
    for path, words in ((tmp_path / "loop", "no folder to download to"), ("a\0b", "no folder to download to")):
        (tmp_path / "loop").unlink(missing_ok=True)
        (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(UsageError, match=words):
            fetch(hub, path)  # type: ignore[arg-type]


def test_what_appears_meanwhile_is_left_alone(hub: FakeHub, tmp_path: Path) -> None:
    plan = plan_download(tmp_path, INDEXTTS_2, endpoint=hub.url)
    with pytest.raises(DownloadError, match=r"gpt\.pth has appeared"):
        download(plan, progress=lambda what, *_: (tmp_path / "gpt.pth").write_text("mine") if "gpt" in what else None)
    assert (tmp_path / "gpt.pth").read_text() == "mine"


def test_other_files_beside_the_parts_stay(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / PARTS_FOLDER).mkdir()
    (tmp_path / PARTS_FOLDER / "notes.txt").write_text("mine")
    (tmp_path / PARTS_FOLDER / ("0" * 64 + ".part")).write_text("of an older version")
    fetch(hub, tmp_path)
    assert [p.name for p in (tmp_path / PARTS_FOLDER).iterdir()] == ["notes.txt"]


def test_an_altered_file_does_not_pass_as_complete(hub: FakeHub, tmp_path: Path) -> None:
    """Also with its size and its time set back."""
    fetch(hub, tmp_path)
    gpt = tmp_path / "gpt.pth"
    before = gpt.stat()
    for alter in ("written into", "replaced"):
        data = bytearray(hub.repositories[OWN]["gpt.pth"])
        data[1000] ^= 1
        if alter == "replaced":
            gpt.unlink()
        gpt.write_bytes(data)
        os.utime(gpt, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(UsageError, match=r"not the published ones: gpt\.pth"):
            fetch(hub, tmp_path)
        assert fetch(hub, tmp_path, replace=True).fetched == ("gpt.pth",)


def test_a_copied_folder_is_checked_and_still_ours(hub: FakeHub, tmp_path: Path) -> None:
    fetch(hub, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert fetch(hub, tmp_path / "b").fetched == ()
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    hub.repositories[OWN]["gpt.pth"] = b"new" * 20_000
    assert fetch(hub, tmp_path / "c").fetched == ("gpt.pth",)
