"""What is installed and under which names; the sentences that say how to install more."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import TESTS

import edgetts
from edgetts.distribution import DISTRIBUTION, REINSTALL, UPGRADE, install, recipes_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = TESTS.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = set(PROJECT["project"]["optional-dependencies"])
PUBLISHED = re.compile(r"pip install (?:-\S+ )*[\"']?edgetts(?![\w-]*-runtime)")


def test_the_name_stands_in_one_place() -> None:
    assert PROJECT["project"]["name"] == DISTRIBUTION
    places = [
        path.name
        for path in (*(ROOT / "edgetts").rglob("*.py"), *(ROOT / "quant").rglob("*.py"))
        if DISTRIBUTION in path.read_text(encoding="utf-8")
    ]
    assert places == ["distribution.py"]


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in PROJECT["project"] and PROJECT["project"]["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+(?:-[\w.]+)?", edgetts.__version__)


@pytest.mark.parametrize("folder", ["README.md", "CONTRIBUTING.md", "docs", "edgetts", "quant", "recipes"])
def test_nobody_is_told_to_install_a_name_of_others(folder: str) -> None:
    top = ROOT / folder
    files = [top] if top.is_file() else [p for s in ("*.py", "*.md", "*.toml", "*.html") for p in top.rglob(s)]
    assert files
    wrong = [f"{path.relative_to(ROOT)}: {m[0]}" for path in files for m in PUBLISHED.finditer(path.read_text("utf-8"))]
    assert not wrong
    extras = re.findall(rf"{DISTRIBUTION}\[([\w,]+)\]", "\n".join(path.read_text("utf-8") for path in files))
    assert {name for group in extras for name in group.split(",")} <= EXTRAS


def test_extras_that_the_program_names_exist() -> None:
    named = set()
    for path in (*(ROOT / "edgetts").rglob("*.py"), *(ROOT / "quant").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "install":
                (argument,) = node.args
                assert isinstance(argument, ast.Constant), path
                named.add(argument.value)
    assert {"play", "serve", "wyoming", "download", "torchao", "japanese"} <= named <= EXTRAS


def test_sentences() -> None:
    assert install("serve") == "pip install 'edgetts-runtime[serve]'"
    assert UPGRADE == "pip install -U edgetts-runtime"
    assert REINSTALL.endswith(" edgetts-runtime")


def test_recipes_are_found_and_training_is_no_part_of_them() -> None:
    assert (recipes_folder() / "cpu-x86.toml").is_file()
    import edgetts.quant

    lies = Path(edgetts.quant.__file__).resolve().parent
    if lies.parent == ROOT:  # a checkout: the links say what the mapping says
        assert (lies, recipes_folder()) == (ROOT / "quant", ROOT / "recipes")
    else:  # installed
        assert lies.parent == recipes_folder().parent == Path(edgetts.__file__).resolve().parent
        assert not (recipes_folder() / "tiny").exists() and not list(recipes_folder().glob("*.py"))
        assert not (lies.parent.parent / "quant" / "hqq.py").exists()
        assert not (lies.parent.parent / "recipes" / "cpu-x86.toml").exists()


@pytest.mark.parametrize("name", ["quant", "recipes"])
def test_no_word_of_others_is_taken(name: str, tmp_path: Path) -> None:
    """A program beside edgetts may have modules of these names, and sees its own."""
    (tmp_path / f"{name}.py").write_text("MINE = True\n")
    code = f"import edgetts.quant, {name}; assert {name}.MINE"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_offline_pass_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgetts.quant", "--help"], capture_output=True, text=True, cwd=TESTS, check=False
    )
    assert done.returncode == 0 and "--recipe" in done.stdout, done.stderr
