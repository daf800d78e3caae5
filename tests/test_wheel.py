"""The wheel holds what runs and nothing else; built from a copy of the checkout, without its compiled part."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from helpers.paths import TESTS

ROOT = TESTS.parent
COPIED = ("edgetts", "quant", "recipes", "tests", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_wheel", ROOT / "packaging" / "check_wheel.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built beside what an older version left in `build/`, when `quant` was installed as such."""
    tree = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, tree)
        else:
            ignored = shutil.ignore_patterns("__pycache__", "*.so", "data")
            shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignored)
    stale = tree / "build" / f"lib.linux-x86_64-cpython-3{sys.version_info[1]}"
    (stale / "quant").mkdir(parents=True)
    (stale / "quant" / "hqq.py").touch()
    (stale / "edgetts").mkdir()
    (stale / "edgetts" / "removed_long_ago.py").touch()
    code = "import sys; from setuptools import build_meta as b; print(b.build_wheel(sys.argv[1]))"
    environment = {**os.environ, "CC": "false", "CXX": "false", "_PYTHON_HOST_PLATFORM": "linux-x86_64"}
    environment.pop("EDGETTS_KERNELS", None)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tree / "dist")],
        cwd=tree, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return tree / "dist" / done.stdout.splitlines()[-1]


def test_it_holds_what_runs_and_nothing_else(wheel: Path, checker: ModuleType) -> None:
    assert checker.problems(wheel, with_kernels=False) == []
    assert checker.problems(wheel) == ["edgetts/native/_kernels.so is missing: the kernels were not compiled"]
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wheel.name.startswith("edgetts_runtime-") and "-py3-none-linux" in wheel.name
    assert "edgetts/removed_long_ago.py" not in names
    sources = {
        f"edgetts/{path.relative_to(ROOT / 'edgetts').as_posix()}" for path in (ROOT / "edgetts").rglob("*.py")
    } | {f"edgetts/quant/{path.name}" for path in (ROOT / "quant").glob("*.py")}
    assert sources == {name for name in names if name.endswith(".py")}
    assert {path.stem for path in (ROOT / "recipes").glob("*.toml")} == {
        Path(name).stem for name in names if name.startswith("edgetts/recipes/")
    }


def test_both_commands_start_the_same_program(wheel: Path) -> None:
    """`uvx edgetts-runtime` runs a command of the distribution's name."""
    with zipfile.ZipFile(wheel) as archive:
        (about,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        lines = archive.read(about).decode().splitlines()
    assert {"edgetts = edgetts.cli:main", "edgetts-runtime = edgetts.cli:main"} <= set(lines)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("quant/hqq.py", "quant would be installed beside edgetts"),
        ("edgetts/recipes/tiny.py", "edgetts/recipes/tiny.py should not be installed"),
        ("edgetts/native/src/snake.cpp", "edgetts/native/src/snake.cpp should not be installed"),
        ("tests/test_api.py", "tests would be installed beside edgetts"),
    ],
)
def test_what_does_not_belong_is_named(
    name: str, sentence: str, wheel: Path, checker: ModuleType, tmp_path: Path
) -> None:
    other = tmp_path / wheel.name
    shutil.copy(wheel, other)
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr(name, "")
    assert sentence in checker.problems(other, with_kernels=False)


def test_folders_are_not_counted_as_files(wheel: Path, checker: ModuleType, tmp_path: Path) -> None:
    """auditwheel lists them; setuptools does not."""
    other = tmp_path / wheel.name
    shutil.copy(wheel, other)
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("edgetts/", "")
    assert checker.parts(other) == checker.parts(wheel)
