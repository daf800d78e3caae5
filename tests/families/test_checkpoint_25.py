"""Published checkpoints of IndexTTS-2.5: which files, in which format, and what is said of others."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from edgetts.errors import CheckpointError, UsageError
from edgetts.families import FAMILIES
from edgetts.pack.load import open_pack
from edgetts.quant.convert import convert, open_checkpoint
from edgetts.quant.download import choose_family
from edgetts.server.api_request import parse_request


@pytest.fixture
def checkpoint(mini_checkpoint_25: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(mini_checkpoint_25, tmp_path / "checkpoint", copy_function=_link))


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    table = torch.load(path)
    change(table)
    path.unlink()
    torch.save(table, path)


def refusal(checkpoint: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(checkpoint)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_pack_is_one_of_2_5(mini_pack_25: Path) -> None:
    pack = open_pack(mini_pack_25)
    manifest, config = pack.manifest, pack.config
    assert manifest.family == "indextts-2.5" and manifest.name == "IndexTTS-2.5"
    assert (config.code_rate, config.feature_rate, config.features_per_code) == (25.0, 50.0, 2)
    assert tuple(manifest.components) == FAMILIES["indextts-2.5"].components
    names = {name for component in manifest.components for name in pack.shapes(component)}
    assert not [n for n in names if n.startswith(("down.", "encoder.0", "gpt_layer", "speed_emb", "text_head"))]


def test_twins_in_safetensors(checkpoint: Path, mini_pack_25: Path, tmp_path: Path) -> None:
    for name, wrapper in (("gpt", None), ("s2mel", "net"), ("codec", "model"), ("wav2vec2bert_stats", None)):
        path = next(checkpoint.glob(f"{name}.p*"))
        table = torch.load(path)
        if wrapper == "net":
            table = {f"net.{part}.{key}": value for part, inner in table["net"].items() for key, value in inner.items()}
        save_file(table if wrapper != "model" else table["model"], path.with_suffix(".safetensors"))
        path.unlink()
    for name in ("feat1", "feat2"):
        matrix = torch.load(checkpoint / f"{name}.pt")
        (checkpoint / f"{name}.pt").unlink()
        save_file({"matrix": matrix}, checkpoint / f"{name}.safetensors")
    made = convert(checkpoint, tmp_path / "twin.pack")
    theirs, ours = (open_pack(path).manifest for path in (mini_pack_25, made.path))
    assert {n: f for n, f in ours.files.items() if "tensors" in n} == {
        n: f for n, f in theirs.files.items() if "tensors" in n
    }
    assert ours.encoder_id == theirs.encoder_id


def test_a_fine_tuned_gpt_under_its_own_name(checkpoint: Path) -> None:
    config = (checkpoint / "config.yaml").read_text()
    (checkpoint / "config.yaml").unlink()
    (checkpoint / "config.yaml").write_text(config.replace("gpt_checkpoint: gpt.pth", "gpt_checkpoint: mine.pth"))
    assert "mine.pth (from IndexTeam/IndexTTS-2.5)" in refusal(checkpoint)
    (checkpoint / "gpt.pth").rename(checkpoint / "mine.pth")
    assert open_checkpoint(checkpoint).name == "IndexTTS-2.5"


def test_extra_and_missing_keys_are_told(checkpoint: Path) -> None:
    def change(table: dict[str, Any]) -> None:
        table["lora.down.weight"] = torch.zeros(2, 2)
        del table["lang_embedding.weight"]
        table["mel_head.bias"] = torch.zeros(3)

    rewrite(checkpoint / "gpt.pth", change)
    message = refusal(checkpoint)
    assert message.startswith("The tensors of this checkpoint are not those of IndexTTS-2.5 (3 differences): ")
    for part in ("gpt: missing lang_embedding.weight", "unexpected lora.down.weight", "mel_head.bias has shape [3]"):
        assert part in message


def test_a_configuration_without_a_version_is_known_by_its_keys(checkpoint: Path) -> None:
    config = (checkpoint / "config.yaml").read_text()
    (checkpoint / "config.yaml").unlink()
    (checkpoint / "config.yaml").write_text(re.sub("(?m)^version: .*$", "", config))
    assert open_checkpoint(checkpoint).config.family == "indextts-2.5"


@pytest.mark.parametrize(
    ("folder", "title", "family"),
    [
        (None, None, "indextts-2.5"),
        ("IndexTTS-2", None, "indextts-2"),
        ("IndexTTS-2.5", None, "indextts-2.5"),
        ("elsewhere", "indextts-2", "indextts-2"),
        ("elsewhere", None, "indextts-2.5"),
    ],
)
def test_which_model_is_downloaded(tmp_path: Path, folder: str | None, title: str | None, family: str) -> None:
    assert choose_family(None if folder is None else tmp_path / folder, title).name == family


def test_a_folder_that_holds_a_model_keeps_it(mini_checkpoint: Path) -> None:
    assert choose_family(mini_checkpoint).name == "indextts-2"
    with pytest.raises(UsageError, match=r"holds an IndexTTS-2: give another folder for IndexTTS-2\.5"):
        choose_family(mini_checkpoint, "IndexTTS-2.5")
    with pytest.raises(UsageError, match="'mine' is unknown: there are IndexTTS-2.5 and IndexTTS-2"):
        choose_family(None, "mine")


def test_speed_over_http_is_the_inverse_of_the_duration() -> None:
    asked = parse_request({"input": "Hello.", "speed": 0.8, "language": "en"}, ["m"]).request
    assert asked.options == {"duration_factor": 1.25, "language": "en"}
