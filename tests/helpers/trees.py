"""Copies of folders that tests change."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def copy_tree(source: Path, target: Path) -> Path:
    """A copy made of hard links: replace files in it (`replace`), never write into them."""
    shutil.copytree(source, target, copy_function=os.link)
    return target


def replace(path: Path, content: bytes) -> None:
    """Give `path` new content without touching the file it was linked from."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
