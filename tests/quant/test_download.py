"""The published files arrive whole and checked, whatever happens on the way; against a hub on this machine."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from helpers.downloads import fetch, names
from helpers.fake_hub import BIGVGAN, MASKGCT, OWN, OWN_25, FakeHub, repositories_of, serve

from edgetts.errors import CheckpointError, DownloadError, UsageError
from edgetts.families import Family
from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.families.indextts25.dims import INDEXTTS_25
from edgetts.families.table import Table
from edgetts.pack.load import open_pack
from edgetts.quant import download as module
from edgetts.quant import hub as hub_module
from edgetts.quant.checkpoint import locate_files
from edgetts.quant.download import download, plan_download
from edgetts.quant.download_folder import PARTS_FOLDER
from edgetts.quant.download_record import RECORD_FILE
from edgetts.quant.part_file import Checksum, PartFile
from edgetts.quant.upstream_config import UpstreamConfig

pytest.importorskip("huggingface_hub", reason="needs the extra `download`")


TARGETS = {
    "config.yaml": "config.yaml",
    "gpt.pth": "gpt.pth",
    "hf_cache/w2v-bert-2.0/model.safetensors": "model.safetensors",
    "hf_cache/semantic_codec_model.safetensors": "semantic_codec/model.safetensors",
    "hf_cache/bigvgan/bigvgan_generator.pt": "bigvgan_generator.pt",
    "hf_cache/licenses/nvidia--bigvgan_v2_22khz_80band_256x/LICENSE": "LICENSE",
    "LICENSE.txt": "LICENSE.txt",
}


def test_whole_run(hub: FakeHub, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    plan = plan_download(tmp_path / "a" / "b", INDEXTTS_2, endpoint=hub.url)
    assert not plan.folder.exists()
    assert plan.licenses == {
        OWN: "bilibili Model Use License Agreement",
        "facebook/w2v-bert-2.0": "mit",
        MASKGCT: "cc-by-nc-4.0",
        "funasr/campplus": "not declared",
        BIGVGAN: "mit",
    }
    done = download(plan, progress=lambda *state: seen.append(state))
    folder = done.folder
    assert names(folder) == {RECORD_FILE, *done.fetched}
    assert set(TARGETS) < set(done.fetched)
    contents = {p: data for files in hub.repositories.values() for p, data in files.items() if p != "config.json"}
    for target, published in TARGETS.items():
        assert (folder / target).read_bytes() == contents[published], target
    assert hub.fetched()[0] == "config.yaml"
    assert seen[-1][1] == seen[-1][2] == plan.total_bytes == done.n_bytes
    assert [s[1] for s in seen] == sorted(s[1] for s in seen)
    assert done.commits[OWN] == hub.commit(OWN)


@pytest.mark.parametrize(
    ("family", "own", "fixture", "tokenizer"),
    [
        (INDEXTTS_2, OWN, "mini_checkpoint", "bpe.model"),
        (INDEXTTS_25, OWN_25, "mini_checkpoint_25", "multilingual_zh_ja_yue_char_del.tiktoken"),
    ],
)
def test_result_can_be_converted(
    family: Family, own: str, fixture: str, tokenizer: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Only what conversion needs is fetched, and that is enough."""
    from edgetts.quant.convert import convert

    checkpoint: Path = request.getfixturevalue(fixture)
    with serve(FakeHub(repositories_of(checkpoint, own))) as hub:
        plan = plan_download(tmp_path / "c", family, endpoint=hub.url)
        assert (MASKGCT in plan.licenses) is (family is INDEXTTS_2)  # the codec of the other one is its own
        assert plan.licenses[own] == "bilibili Model Use License Agreement"
        done = download(plan)
        unneeded = ("qwen", "t2s", "optimizer", "conformer_shaw")
        assert not [name for name in hub.fetched() if any(part in name for part in unneeded)]
        assert tokenizer in done.fetched and plan_download(tmp_path / "c", family, endpoint=hub.url).missing == ()
    made = open_pack(convert(tmp_path / "c", tmp_path / "made.pack").path)
    plain = open_pack(convert(checkpoint, tmp_path / "plain.pack").path)
    assert made.config.family == family.name and made.manifest.files.keys() == plain.manifest.files.keys()
    sums = [{name: entry.sha256 for name, entry in each.manifest.files.items()} for each in (made, plain)]
    assert sums[0] == sums[1]


def test_second_run_fetches_nothing(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(hub, tmp_path)
    hub.requests.clear()
    monkeypatch.setattr(module, "has_checksum", lambda *_: pytest.fail("hashed again"))
    plan = plan_download(tmp_path, INDEXTTS_2, endpoint=hub.url)
    assert (plan.missing, plan.fetch_bytes, plan.agreed) == ((), 0, True)
    assert download(plan).fetched == ()
    assert hub.fetched() == []


def test_files_fetched_by_other_means_are_checked_and_taken(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "hf_cache" / "semantic_codec").mkdir(parents=True)
    (tmp_path / "gpt.pth").write_bytes(hub.repositories[OWN]["gpt.pth"])
    codec = tmp_path / "hf_cache" / "semantic_codec" / "model.safetensors"
    codec.write_bytes(hub.repositories[MASKGCT]["semantic_codec/model.safetensors"])
    seen: list[tuple[str, int, int]] = []
    plan = plan_download(tmp_path, INDEXTTS_2, endpoint=hub.url, progress=lambda *state: seen.append(state))
    assert seen[-1] == ("checking what is there", 450_000, 450_000)
    assert not plan.agreed
    done = download(plan)
    assert "gpt.pth" not in done.fetched
    assert not [target for target in done.fetched if "semantic_codec" in target]


def test_interrupted_run_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("gpt.pth"):
            raise KeyboardInterrupt

    hub.cut["gpt.pth"] = [150_000]
    with pytest.raises(KeyboardInterrupt):
        download(plan_download(tmp_path, INDEXTTS_2, endpoint=hub.url), progress=stop)
    assert not (tmp_path / "gpt.pth").exists()
    part = next(p for p in (tmp_path / PARTS_FOLDER).iterdir() if p.stat().st_size)
    assert part.name == hashlib.sha256(hub.repositories[OWN]["gpt.pth"]).hexdigest() + ".part"
    here = part.stat().st_size
    assert 0 < here <= 150_000

    hub.requests.clear()
    hub.cut.clear()
    plan = plan_download(tmp_path, INDEXTTS_2, endpoint=hub.url)
    assert plan.agreed
    assert plan.fetch_bytes == sum(w.file.size for w in plan.missing) - here
    done = download(plan)
    assert "config.yaml" not in done.fetched
    assert [given for path, given in hub.requests if path.endswith("gpt.pth")] == [f"bytes={here}-"] * 2
    assert (tmp_path / "gpt.pth").read_bytes() == hub.repositories[OWN]["gpt.pth"]
    assert not (tmp_path / PARTS_FOLDER).exists()


@pytest.mark.parametrize("ignore_range", [False, True])
def test_broken_connection_is_taken_up_at_once(hub: FakeHub, tmp_path: Path, ignore_range: bool) -> None:
    hub.cut["gpt.pth"] = [100_000]
    hub.ignore_range = ignore_range
    fetch(hub, tmp_path)
    assert (tmp_path / "gpt.pth").read_bytes() == hub.repositories[OWN]["gpt.pth"]
    assert len([path for path, _ in hub.requests if "/cdn/" in path and path.endswith("gpt.pth")]) >= 2


def test_part_of_another_file_is_not_continued(hub: FakeHub, tmp_path: Path) -> None:
    parts = tmp_path / PARTS_FOLDER
    parts.mkdir()
    digest = hashlib.sha256(hub.repositories[OWN]["gpt.pth"]).hexdigest()
    (parts / f"{digest}.part").write_bytes(b"x" * 500_000)  # longer than the file
    fetch(hub, tmp_path)
    assert (tmp_path / "gpt.pth").read_bytes() == hub.repositories[OWN]["gpt.pth"]


def test_damaged_part_is_thrown_away(hub: FakeHub, tmp_path: Path) -> None:
    parts = tmp_path / PARTS_FOLDER
    parts.mkdir()
    digest = hashlib.sha256(hub.repositories[OWN]["gpt.pth"]).hexdigest()
    (parts / f"{digest}.part").write_bytes(b"x" * 5_000)
    with pytest.raises(DownloadError, match="run the same command again"):
        fetch(hub, tmp_path)
    fetch(hub, tmp_path)
    assert (tmp_path / "gpt.pth").read_bytes() == hub.repositories[OWN]["gpt.pth"]


@pytest.mark.parametrize("name", ["gpt.pth", "feat1.pt"], ids=["sha256", "git"])
def test_altered_on_the_way(hub: FakeHub, tmp_path: Path, name: str) -> None:
    hub.corrupt.add(name)
    with pytest.raises(DownloadError, match=f"{name} of {OWN} is not what was published"):
        fetch(hub, tmp_path)
    assert not (tmp_path / name).exists()
    hub.corrupt.clear()
    fetch(hub, tmp_path)
    assert (tmp_path / name).read_bytes() == hub.repositories[OWN][name]


def test_new_commit_replaces_what_was_fetched(hub: FakeHub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    hub.repositories[OWN]["gpt.pth"] = b"new" * 20_000
    assert fetch(hub, tmp_path).fetched == ("gpt.pth",)
    assert (tmp_path / "gpt.pth").read_bytes() == b"new" * 20_000


@pytest.mark.parametrize(
    ("key", "status", "code", "words"),
    [
        (OWN, 401, "GatedRepo", "agreed to its terms"),
        ("gpt.pth", 403, "GatedRepo", "agreed to its terms"),
        ("gpt.pth", 404, "EntryNotFound", r"has no file gpt\.pth of IndexTeam/IndexTTS-2"),
        (MASKGCT, 401, "RepoNotFound", "has no amphion/MaskGCT"),
        (MASKGCT, 404, "", "has no amphion/MaskGCT"),
        (OWN, 403, "", "refuses IndexTeam/IndexTTS-2"),
        (OWN, 407, "", "proxy refuses"),
        (OWN, 500, "", "failed with HTTP 500"),
        (OWN, 418, "", "HTTP 418"),
    ],
)
def test_refusals(hub: FakeHub, tmp_path: Path, key: str, status: int, code: str, words: str) -> None:
    hub.refuse[key] = (status, code)
    with pytest.raises(DownloadError, match=words) as caught:
        fetch(hub, tmp_path)
    assert "\n" not in str(caught.value)


def test_revisions(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="has no revision 'v9'"):
        fetch(hub, tmp_path, revision="v9")
    assert fetch(hub, tmp_path, revision="v2").fetched


def test_another_version_is_refused_before_the_weights(hub: FakeHub, tmp_path: Path) -> None:
    config = hub.repositories[OWN]["config.yaml"]
    hub.repositories[OWN]["config.yaml"] = config.replace(b"version: 2.0", b"version: 2.5")
    with pytest.raises(CheckpointError, match="2.5"):
        fetch(hub, tmp_path / "a")
    hub.repositories[OWN]["config.yaml"] = config.replace(b"gpt.pth", b"gpt_new.pth")
    with pytest.raises(CheckpointError, match=r"names gpt_new\.pth"):
        fetch(hub, tmp_path / "b")
    assert "gpt.pth" not in hub.fetched()


def test_not_published(hub: FakeHub, tmp_path: Path) -> None:
    del hub.repositories[OWN]["s2mel.pth"]
    with pytest.raises(DownloadError, match=r"for 1 that are needed: s2mel\.pth"):
        fetch(hub, tmp_path)
    hub.no_checksums = True
    with pytest.raises(DownloadError, match="or no checksum of it"):
        fetch(hub, tmp_path)


def test_login_page_instead_of_a_hub(hub: FakeHub, tmp_path: Path) -> None:
    hub.not_a_hub = True
    with pytest.raises(DownloadError, match="does not answer like a Hugging Face hub"):
        fetch(hub, tmp_path)


def test_no_network(tmp_path: Path) -> None:
    with serve(FakeHub({})) as gone:
        pass
    with pytest.raises(DownloadError, match="cannot be reached.*check the network"):
        fetch(gone, tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("address", ["ftp://hub", "hub.example", "http://", "https://h:port", "file:///etc"])
def test_wrong_address(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not an address"):
        plan_download(tmp_path, INDEXTTS_2, endpoint=address)


def test_no_room(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(DownloadError, match=r"GiB are needed in .*make room"):
        plan_download(tmp_path, INDEXTTS_2, endpoint=hub.url)
    assert names(tmp_path) == set()


def test_disk_full_on_the_way(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnFullDisk(PartFile):
        def __enter__(self) -> PartFile:
            super().__enter__()
            self._file.close()
            self._file = Path("/dev/full").open("r+b", buffering=0)
            return self

    monkeypatch.setattr(module, "PartFile", OnFullDisk)
    with pytest.raises(DownloadError, match="no space left on device.*make room"):
        fetch(hub, tmp_path)
    assert not (tmp_path / "config.yaml").exists()


def test_token_stays_here(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent in the clear to this machine only, and not at all to another."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(hub, tmp_path)
    assert all(headers.get("authorization") == "Bearer hf_secret" for headers in hub.headers)
    assert hub_module.Hub("http://mirror.example")._token is False
    assert hub_module.Hub("https://mirror.example")._token is None


def test_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match=r"pip install 'edgetts-runtime\[download\]'"):
        plan_download(tmp_path, INDEXTTS_2)


def test_part_file_counts_and_hashes(tmp_path: Path) -> None:
    counts: list[int] = []
    checksum = Checksum("sha256", hashlib.sha256(b"abcdef").hexdigest())
    with PartFile(tmp_path, 6, checksum, counts.append) as part:
        part.write(b"abX")
        part.restart()
        part.write(b"abc")
    with PartFile(tmp_path, 6, checksum, counts.append) as part:
        assert (part.size, counts) == (3, [3, -3, 3, 3])
        part.write(b"def")
        assert part.finish(tmp_path / "x" / "file")
    assert (tmp_path / "x" / "file").read_bytes() == b"abcdef"
    with pytest.raises(ValueError, match="digest"):
        Checksum("sha256", "../etc")


def test_locate_files_names_this_command(hub: FakeHub, tmp_path: Path) -> None:
    upstream = UpstreamConfig(INDEXTTS_2, Table({}, "config.yaml"), {"gpt": "gpt.pth"})
    with pytest.raises(CheckpointError, match="edgetts download"):
        locate_files(tmp_path, upstream)
