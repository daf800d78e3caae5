"""`edgetts voices`, with a stand-in for the enrollment itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.command import Edgetts
from typer.testing import CliRunner

from edgetts.pack.locate import builtin_pack
from edgetts.pack.manifest import read_manifest
from edgetts.voices.voice import Voice

BUILTIN = "".join(f"{name} (built-in)\n" for name in read_manifest(builtin_pack()).ready_voices())


def make_voice(**changes: object) -> Voice:
    values: dict[str, object] = {
        "conditioning_latents": torch.zeros(1, 2, 3),
        "emotion_vector": torch.zeros(1, 3),
        "emotion_base": torch.zeros(1, 3),
        "style": torch.zeros(1, 4),
        "reference_codes": torch.zeros(1, 5, dtype=torch.int64),
        "reference_mel": torch.zeros(1, 6, 7),
        "encoder_id": "e" * 64,
        "seconds": 2.5,
        "name": "elsewhere",
        "notices": ("cut at 15 s.",),
    }
    return Voice(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_voice().save(tmp_path / "given.safetensors")


def test_life_of_a_voice(edgetts: Edgetts, file: Path, home: Path, tmp_path: Path) -> None:
    result = edgetts("voices", "list")
    assert result.exit_code == 0
    assert "no voices of your own yet" in result.stderr
    builtin = result.stdout
    result = edgetts("voices", "add", "anna", file)
    assert result.exit_code == 0, result.stderr
    assert "Voice anna is ready" in result.stdout
    assert result.stderr == "note: cut at 15 s.\n"
    assert edgetts("voices", "list").stdout == "anna\n" + builtin
    assert "2.5 s" in edgetts("voices", "show", "anna").stdout
    about = json.loads(edgetts("voices", "show", "anna", "--json").stdout)
    assert about["seconds"] == 2.5
    assert about["encoder_id"] == "e" * 64
    listed = json.loads(edgetts("voices", "list", "--json").stdout)
    own = {"name": "anna", "file": about["file"], "bytes": about["bytes"], "builtin": False, "problem": None}
    own["language"] = None
    assert [v for v in listed["voices"] if not v["builtin"]] == [own]

    out = tmp_path / "out.safetensors"
    assert edgetts("voices", "export", "anna", out).stdout == f"{out}\n"
    assert Voice.load(out).name == "anna"
    assert edgetts("voices", "export", "anna", out).exit_code == 2
    assert edgetts("voices", "export", "anna", out, "--force").exit_code == 0
    assert edgetts("voices", "export", "anna", tmp_path / "out.txt").exit_code == 2
    assert edgetts("voices", "export", "anna", home).stdout == f"{home / 'anna.safetensors'}\n"

    assert edgetts("voices", "add", "anna", file).exit_code == 2
    assert edgetts("voices", "add", "anna", file, "--force").exit_code == 0
    assert edgetts("voices", "remove", "anna").exit_code == 0
    assert edgetts("voices", "list").stdout == builtin


def test_a_voice_with_a_level(edgetts: Edgetts, file: Path, tmp_path: Path) -> None:
    made = make_voice(level_db=-21.26).save(tmp_path / "leveled.safetensors")
    for name, path, level in (("plain", file, None), ("leveled", made, -21.26)):
        assert edgetts("voices", "add", name, path).exit_code == 0
        assert json.loads(edgetts("voices", "show", name, "--json").stdout)["level_db"] == level
        lines = [line.split()[:3] for line in edgetts("voices", "show", name).stdout.splitlines()]
        assert (["level", "-21.3", "dB,"] in lines) == (level is not None)


def test_a_voice_with_a_language(edgetts: Edgetts, file: Path) -> None:
    assert edgetts("voices", "add", "ana", file, "--lang", "es").exit_code == 0
    assert edgetts("voices", "list").stdout.startswith("ana (es)\n")
    listed = json.loads(edgetts("voices", "list", "--json").stdout)["voices"]
    assert [v["language"] for v in listed if not v["builtin"]] == ["es"]
    assert "language    es" in edgetts("voices", "show", "ana").stdout
    assert json.loads(edgetts("voices", "show", "ana", "--json").stdout)["language"] == "es"
    # A voice file keeps its language, and gets another one.
    kept = json.loads(edgetts("voices", "show", "ana", "--json").stdout)["file"]
    assert edgetts("voices", "add", "ana 2", kept).exit_code == 0
    again = edgetts("voices", "add", "ana", kept, "--lang", "ar", "--force", "--json")
    assert json.loads(again.stdout)["language"] == "ar"
    assert edgetts("voices", "list").stdout.startswith("ana 2 (es)\nana (ar)\n")
    refused = edgetts("voices", "add", "x", file, "--lang", "xx")
    assert refused.exit_code == 2 and "language is 'xx'; allowed is one of" in refused.stderr
    kept_file = Path(kept)
    kept_file.write_bytes(b"broken")
    assert "damaged or not a voice file" in edgetts("voices", "list").stderr


def test_remove_is_all_or_nothing(edgetts: Edgetts, file: Path) -> None:
    edgetts("voices", "add", "anna", file)
    assert edgetts("voices", "remove", "anna", "bert").exit_code == 1
    assert edgetts("voices", "list").stdout.startswith("anna\n")


def test_damaged_voice_file(edgetts: Edgetts, tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    result = edgetts("voices", "add", "anna", bad)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert edgetts("voices", "list").stdout == BUILTIN


def test_bad_recording_is_told_first(edgetts: Edgetts, tmp_path: Path) -> None:
    empty = tmp_path / "empty.wav"
    empty.write_bytes(b"")
    result = edgetts("voices", "add", "anna", empty)
    assert result.exit_code == 1
    assert "is an empty file" in result.stderr


def test_built_in_voices_are_shown(edgetts: Edgetts, tmp_path: Path) -> None:
    assert "af_heart (built-in)\n" in edgetts("voices", "list").stdout
    listed = json.loads(edgetts("voices", "list", "--json").stdout)["voices"]
    assert all(v["builtin"] and Path(v["file"]).is_file() and v["bytes"] for v in listed)
    shown = edgetts("voices", "show", "af_heart")
    assert shown.exit_code == 0
    assert "af_heart (built-in)" in shown.stdout
    assert json.loads(edgetts("voices", "show", "af_heart", "--json").stdout)["builtin"] is True
    out = tmp_path / "heart.safetensors"
    assert edgetts("voices", "export", "af_heart", out).exit_code == 0
    assert Voice.load(out).encoder_id == read_manifest(builtin_pack()).encoder_id
    missing = edgetts("voices", "show", "af_hart")
    assert missing.exit_code == 1
    assert "did you mean 'af_heart'?" in missing.stderr


def test_a_built_in_voice_is_hidden_only_when_asked(edgetts: Edgetts, file: Path) -> None:
    refused = edgetts("voices", "add", "af_heart", file)
    assert refused.exit_code == 2
    assert "is a voice of the pack" in refused.stderr and "--force" in refused.stderr
    assert edgetts("voices", "list").stdout == BUILTIN
    assert edgetts("voices", "add", "af_heart", file, "--force").exit_code == 0
    assert edgetts("voices", "list").stdout.count("af_heart") == 1
    assert "2.5 s" in edgetts("voices", "show", "af_heart").stdout
    assert edgetts("voices", "remove", "af_heart").exit_code == 0
    kept = edgetts("voices", "remove", "af_heart")
    assert kept.exit_code == 1
    assert "cannot be removed" in kept.stderr
    assert edgetts("voices", "list").stdout == BUILTIN


def test_voices_of_another_pack(edgetts: Edgetts, file: Path, mini_pack: Path) -> None:
    assert edgetts("voices", "list", "--pack", mini_pack).stdout == ""
    assert edgetts("voices", "show", "af_heart", "--pack", mini_pack).exit_code == 1
    assert edgetts("voices", "add", "af_heart", file, "--pack", mini_pack).exit_code == 0
    assert edgetts("voices", "list", "--pack", "/nowhere").exit_code == 1


def test_a_loop_of_links_is_named_and_removed(edgetts: Edgetts, file: Path, home: Path) -> None:
    edgetts("voices", "add", "anna", file)
    (home / "voices" / "loop.safetensors").symlink_to("loop.safetensors")
    (home / "voices" / "gone.safetensors").symlink_to("/nowhere/at/all")
    listed = edgetts("voices", "list")
    assert listed.exit_code == 0
    assert listed.stdout == "anna\n" + BUILTIN
    assert "'loop' is a broken link" in listed.stderr
    assert "'gone' is a broken link" in listed.stderr
    assert edgetts("voices", "show", "anna").exit_code == 0
    for use in (("show",), ("export",)):
        result = edgetts("voices", *use, "loop", *(["x.safetensors"] if use == ("export",) else []))
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
    assert edgetts("voices", "remove", "loop", "gone", "anna").exit_code == 0
    assert edgetts("voices", "list").stdout == BUILTIN


def test_what_a_voice_file_says_reaches_no_terminal_as_control(edgetts: Edgetts, tmp_path: Path) -> None:
    path = make_voice(notices=("\x1b[2Jgone\nline",), encoder_id="\x1b]0;title\x07").save(tmp_path / "v.safetensors")
    added = edgetts("voices", "add", "evil", path)
    shown = edgetts("voices", "show", "evil")
    for result in (added, shown):
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout + result.stderr
    assert "\\x1b[2Jgone line" in shown.stdout


def test_completion_knows_the_voices(edgetts: Edgetts, file: Path) -> None:
    edgetts("voices", "add", "afanna", file)

    def offered(words: str) -> list[str]:
        from edgetts.cli.app import app

        variables = {"_EDGETTS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        result = CliRunner().invoke(app, [], prog_name="edgetts", env=variables)
        return result.stdout.split()

    assert {"afanna", "af_heart"} <= set(offered("edgetts voices show af"))
    assert offered("edgetts voices remove af") == ["afanna"]
    assert {"afanna", "af_heart"} <= set(offered("edgetts say --voice af"))
