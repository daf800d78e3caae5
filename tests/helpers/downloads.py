"""Downloads from a hub on this machine, which speaks as Hugging Face's or as ModelScope."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.quant.download import Download, Plan, download, plan_download
from edgetts.quant.download_folder import PARTS_FOLDER
from edgetts.quant.hub import Hub
from edgetts.quant.modelscope import ModelScope
from helpers.fake_hub import OWN, FakeHub

pytest.importorskip("huggingface_hub", reason="needs the extra `download`")

TOKEN = "secret-token"
Source = Callable[[str], Hub]  # makes the hub at an address
SOURCES: dict[str, Source] = {"huggingface": Hub, "modelscope": lambda url: ModelScope(url, TOKEN)}


def fetch(hub: FakeHub, folder: Path, **options: object) -> Download:
    return download(plan_download(folder, INDEXTTS_2, endpoint=hub.url, **options))  # type: ignore[arg-type]


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def plan(hub: FakeHub, source: Source, folder: Path, **options: object) -> Plan:
    return plan_download(folder, INDEXTTS_2, hub=source(hub.url), **options)  # type: ignore[arg-type]


def is_whole(hub: FakeHub, folder: Path) -> bool:
    """Whether the large files are there as published, and no parts."""
    assert not (folder / PARTS_FOLDER).exists()
    return all((folder / name).read_bytes() == hub.repositories[OWN][name] for name in ("gpt.pth", "s2mel.pth"))
