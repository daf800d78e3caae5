"""`edgetts packs`: what there is, what speaks by default, what may be removed."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import Edgetts
from helpers.trees import copy_tree

from edgetts.cli import pack_use
from edgetts.cli.pack_use import users_of
from edgetts.pack.default_pack import read_default, write_default
from edgetts.pack.locate import builtin_pack, locate_pack


@pytest.fixture
def packs(home: Path, mini_pack: Path) -> Path:
    """A folder with two packs, of which none is the default."""
    for name in ("mini", "other"):
        copy_tree(mini_pack, home / "packs" / name)
    return home / "packs"


def test_list(packs: Path, home: Path, edgetts: Edgetts, mini_pack_25: Path) -> None:
    copy_tree(mini_pack_25, home / "packs" / "newer")
    (packs / "mini" / "manifest.json").touch()
    os.utime(packs / "mini" / "manifest.json", (1_700_000_000, 1_700_000_000))
    (packs / "other" / "gpt.safetensors").unlink()
    result = edgetts("packs", "list")
    assert result.exit_code == 0, result.stderr
    lines = {line[2:].split()[0]: line for line in result.stdout.splitlines()}
    assert list(lines) == ["mini", "newer", "other", "builtin"]
    assert lines["mini"].split()[1:4] == ["IndexTTS-2", "reference-fp32", lines["mini"].split()[3]]
    assert lines["mini"].endswith("2023-11-14") and " MB " in lines["mini"]
    assert lines["newer"].split()[1] == "IndexTTS-2.5"
    assert "broken: " in lines["other"] and "gpt.safetensors is missing" in lines["other"]
    assert [name for name, line in lines.items() if line.startswith("*")] == ["builtin"]

    table = json.loads(edgetts("packs", "list", "--json").stdout)
    assert table["folder"] == str(packs) and table["problem"] is None
    first = table["packs"][0]
    assert (first["name"], first["family"], first["recipe"]) == ("mini", "indextts-2", "reference-fp32")
    assert first["date"] == "2023-11-14T22:13:20Z" and first["bytes"] > 1000 and not first["default"]
    assert table["packs"][2]["problem"] and table["packs"][2]["date"] is None


def test_use_is_what_every_verb_takes(packs: Path, home: Path, edgetts: Edgetts, tmp_path: Path) -> None:
    result = edgetts("packs", "use", "mini")
    assert result.exit_code == 0 and "IndexTTS-2" in result.stdout
    assert read_default(home) == "mini"
    assert json.loads(edgetts("info", "--json").stdout)["path"] == str(packs / "mini")
    assert json.loads(edgetts("packs", "path", "mini", "--json").stdout) == {"path": str(packs / "mini")}
    assert edgetts("packs", "list").stdout.splitlines()[0].startswith("* mini")

    moved = shutil.move(packs / "other", tmp_path / "my packs" / "own")
    assert edgetts("packs", "use", moved, "--quiet").stdout == ""
    assert read_default(home) == str(moved)
    assert edgetts("packs", "list").stdout.splitlines()[-1].startswith(f"* {moved}")
    assert edgetts("packs", "use", packs / "mini").exit_code == 0
    assert read_default(home) == "mini"  # by its name, which survives a move of the home
    assert edgetts("packs", "use", "builtin").exit_code == 0
    assert read_default(home) == "builtin" and locate_pack(None, home).is_builtin


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["use", "nope"], "There is no model pack at nope"),
        (["use", "min"], "did you mean mini?"),
        (["use", "home"], "manifest.json"),
        (["use", ""], "no model pack at ''"),
        (["remove", "nope"], "'nope' is not the name of a pack in"),
        (["remove", "mini2"], "did you mean mini?"),
        (["remove", "../packs/mini"], "is not the name of a pack"),
        (["remove", "/etc"], "is not the name of a pack"),
        (["remove", ".."], "is not the name of a pack"),
        (["remove", ""], "is not the name of a pack"),
        (["remove", "builtin"], "built-in pack is a part of edgetts"),
        (["remove", "mini", "nope"], "'nope' is not the name of a pack"),
        (["path", "nope"], "There is no model pack at nope"),
        (["verify", "nope"], "There is no model pack at nope"),
    ],
)
def test_misuse(
    packs: Path, home: Path, edgetts: Edgetts, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.parent)
    result = edgetts("packs", *words)
    assert result.exit_code in (1, 2) and message in result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stdout == ""
    assert {path.name for path in packs.iterdir()} == {"mini", "other"}


def test_remove(packs: Path, home: Path, edgetts: Edgetts) -> None:
    edgetts("packs", "use", "mini")
    result = edgetts("packs", "remove", "mini", "other")
    assert result.exit_code == 0, result.stderr
    assert list(packs.iterdir()) == [] and read_default(home) is None
    assert "It was the default; the built-in pack speaks now." in result.stdout


def test_only_what_we_wrote_is_removed(packs: Path, edgetts: Edgetts, tmp_path: Path) -> None:
    (packs / "mini" / "notes.txt").write_text("mine")
    result = edgetts("packs", "remove", "other", "mini")
    assert result.exit_code == 2 and "'notes.txt' besides the pack" in result.stderr
    assert (packs / "other").is_dir() and len(list((packs / "mini").iterdir())) > 2

    (packs / "link").symlink_to(shutil.move(packs / "other", tmp_path / "elsewhere"))
    result = edgetts("packs", "remove", "link")
    assert result.exit_code == 2 and f"is a link to {tmp_path / 'elsewhere'}" in result.stderr
    assert (tmp_path / "elsewhere" / "manifest.json").is_file()

    (packs / "edited").mkdir()
    (packs / "edited" / "manifest.json").write_text("{}")
    result = edgetts("packs", "remove", "edited")
    assert result.exit_code == 2 and "not one of an edgetts pack" in result.stderr


def test_an_interrupted_removal_is_finished(packs: Path, edgetts: Edgetts, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgetts.quant import staging

    remove, removed = staging.remove_file, []

    def stop(handle: int, name: str) -> None:
        if len(removed) == 3:
            raise KeyboardInterrupt
        removed.append(remove(handle, name))

    with monkeypatch.context() as patch:
        patch.setattr(staging, "remove_file", stop)
        assert edgetts("packs", "remove", "mini").exit_code == 130
    assert (packs / "mini").is_dir() and not (packs / "mini" / "manifest.json").exists()
    assert edgetts("packs", "remove", "mini").exit_code == 0
    assert not (packs / "mini").exists()


def test_a_pack_in_use_stays(packs: Path, edgetts: Edgetts, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import mmap, sys; f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, access=1); print(m[0]); input()"
    file = packs / "mini" / "gpt.safetensors"
    command = [sys.executable, "-c", code, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        result = edgetts("packs", "remove", "mini")
        process.communicate(b"\n")
    assert result.exit_code == 2 and f"in use by process {process.pid} (" in result.stderr
    assert edgetts("packs", "remove", "mini", "--force").exit_code == 0

    monkeypatch.setattr(pack_use, "_daemon", lambda folder, _: f"the daemon with {folder.name}")
    result = edgetts("packs", "remove", "other")
    assert result.exit_code == 2 and "in use by the daemon with other" in result.stderr


def test_users_of_a_pack_are_no_others(tmp_path: Path, packs: Path) -> None:
    with (packs / "mini" / "gpt.safetensors").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert users_of(packs / "mini", tmp_path / "no.sock") == []  # this process itself
    proc = tmp_path / "proc"
    for number, line in (("7", f"{packs}/mini-2/gpt.safetensors"), ("8", f"{packs}/mini/a b"), ("self", "")):
        (proc / number).mkdir(parents=True)
        (proc / number / "maps").write_text(f"7f-80 r--p 0 08:01 77\n7f-80 r--p 0 08:01 77   {line}\n")
        (proc / number / "comm").write_text("edge\x1btts\n")
    assert users_of(packs / "mini", None, proc) == ["process 8 (edge\\x1btts)"]
    assert users_of(packs / "mini", None, tmp_path / "none") == []


def test_verify(packs: Path, edgetts: Edgetts) -> None:
    result = edgetts("packs", "verify", "mini")
    assert result.exit_code == 0 and result.stdout == f"mini: intact ({packs / 'mini'})\n"
    file = packs / "other" / "gpt.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.unlink()
    file.write_bytes(data)
    result = edgetts("packs", "verify")
    assert result.exit_code == 1
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == ["mini", "builtin"]
    assert "other/gpt.safetensors was altered after the pack was made" in result.stderr
    table = {
        entry["name"]: entry["problem"] for entry in json.loads(edgetts("packs", "verify", "--json").stdout)["packs"]
    }
    assert table["mini"] is None and "altered" in table["other"]


def test_path(home: Path, edgetts: Edgetts) -> None:
    assert edgetts("packs", "path").stdout == f"{home / 'packs'}\n"
    assert edgetts("packs", "path", "builtin").stdout == f"{builtin_pack()}\n"


def test_a_default_that_is_gone(packs: Path, home: Path, edgetts: Edgetts) -> None:
    write_default(home, "gone")
    result = edgetts("packs", "list")
    assert result.exit_code == 0 and "*" not in result.stdout
    assert result.stderr.splitlines() == [
        f"edgetts: The default pack gone is not there anymore (no pack at {packs / 'gone'}): choose another with "
        "`edgetts packs use NAME` (there are mini, other)."
    ]
    for verb in (["say", "hi", "-o", str(home.parent / "a.wav")], ["info"], ["warmup"], ["serve"], ["bench"]):
        result = edgetts(*verb)
        assert result.exit_code == 1 and "is not there anymore" in result.stderr, verb
        assert len(result.stderr.splitlines()) == 1
