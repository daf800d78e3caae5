"""Downloads from a hub on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.quant.download import Download, download, plan_download
from helpers.fake_hub import FakeHub

pytest.importorskip("huggingface_hub", reason="needs the extra `download`")


def fetch(hub: FakeHub, folder: Path, **options: object) -> Download:
    return download(plan_download(folder, INDEXTTS_2, endpoint=hub.url, **options))  # type: ignore[arg-type]


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
