"""Installing edgetts keeps the torch that a board came with: NVIDIA's builds for Jetson are nowhere on the index.

Wheels and the installed torch are empty stand-ins; the requirement is the one of pyproject.toml. pip only says what it
would install, without any index.
"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from helpers.paths import TESTS

pytest.importorskip("pip", reason="asks pip what it would install")

OWN = [
    "2.8.0a0+34c6371d24.nv25.8",  # a pre-release, which is less than 2.8
    "2.8.0+nv25.8",
    "2.9.0a0+50eac811a6.nv25.9",
    "2.10.0",
]
TOO_OLD = "2.5.0a0+872d972e41.nv24.8"  # of JetPack 6.1


def write_wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def torch_range() -> str:
    """As written in pyproject.toml; only one line speaks of torch."""
    text = (TESTS.parent / "pyproject.toml").read_text(encoding="utf-8")
    (line,) = re.findall(r'^\s*"(torch[<>=].*?)"', text, flags=re.MULTILINE)
    return line


class Board:
    """An environment with some torch, and an index that has others."""

    def __init__(self, folder: Path, installed: str) -> None:
        self.index = folder / "index"
        self.index.mkdir()
        for version in ("2.8.0", "2.13.0", "2.15.0"):
            write_wheel(self.index, "torch", version)
        self.app = write_wheel(folder, "app", "1.0", torch_range())
        venv.create(folder / "venv", with_pip=False)
        self.python = folder / "venv" / "bin" / "python"
        (site,) = (folder / "venv" / "lib").glob("*/site-packages")
        info = site / f"torch-{installed}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {installed}\n")

    def would_install(self, *options: str) -> list[str]:
        """What `pip install app` would install; what it refuses to do raises RuntimeError."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--python", self.python),
                *("install", "--dry-run", "--no-index", "--find-links", self.index, self.app, *options),
            ],
            capture_output=True, text=True, check=False,
            env={"PATH": "/usr/bin:/bin", "PIP_CONFIG_FILE": "/dev/null"},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr)
        return re.findall(r"^Would install (.*)$", done.stdout, flags=re.MULTILINE)[0].split()


@pytest.mark.parametrize("installed", OWN)
def test_the_torch_of_the_board_is_kept(installed: str, tmp_path: Path) -> None:
    assert Board(tmp_path, installed).would_install() == ["app-1.0"]


def test_one_that_is_too_old_is_replaced_unless_it_is_held(tmp_path: Path) -> None:
    board = Board(tmp_path, TOO_OLD)
    assert board.would_install() == ["app-1.0", "torch-2.13.0"]
    held = tmp_path / "own-torch.txt"
    held.write_text(f"torch=={TOO_OLD}\n")
    with pytest.raises(RuntimeError, match="Cannot install app==1.0"):
        board.would_install("-c", str(held))
