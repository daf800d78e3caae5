"""The documents for developers name files and functions that exist, and their links lead somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from helpers.pages import PAGES, ROOT
from helpers.paths import TESTS

PLACE = re.compile(r"`((?:edgetts|quant|recipes|tests|docs|\.ci)/[\w./-]*)(?::([\w.]+))?`")
KINDS = (".py", ".cpp", ".h", ".inc", ".js", ".css", ".html")  # of files that are written by hand
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def defined(path: Path) -> set[str]:
    """Names of a module's functions and classes, with `Class.method`."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_places_in_the_code_exist(page: Path) -> None:
    places = PLACE.findall(page.read_text(encoding="utf-8"))
    assert places or page.name != "CONTRIBUTING.md"
    for name, function in places:
        assert (ROOT / name).exists(), f"{page.name} names {name}"
        assert not function or function in defined(ROOT / name), f"{page.name} names {name}:{function}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_module_below_edgetts_is_in_the_picture() -> None:
    picture = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```")[1]
    rooms = {p.stem for p in (ROOT / "edgetts").iterdir() if p.name[0] not in "_." and p.suffix in ("", ".py")}
    words = set(re.findall(r"[a-z0-9]+", picture))
    assert rooms - words == {"builtin"}


def test_a_file_of_more_than_350_lines_says_why() -> None:
    root = TESTS.parent
    folders = (root / name for name in ("edgetts", "quant", "recipes", "tests"))
    files = [f for folder in folders for f in folder.rglob("*") if f.suffix in KINDS]
    assert len(files) > 400
    silent = []
    for file in files:
        lines = file.read_text("utf-8").splitlines()
        if len(lines) > 350 and "Long because" not in "\n".join(lines[:15]):
            silent.append(f"{file.relative_to(root)}: {len(lines)} lines")
    assert not silent
