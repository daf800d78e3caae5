"""Every command in the documents exists; those that are not marked otherwise are run, as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.pages import PAGES, ROOT, Block, blocks, commands
from helpers.paths import TESTS
from typer.main import get_command

from edgetts.cli.app import app

SHELL = [block for page in PAGES for block in blocks(page, "bash", "sh")]
PYTHON = [block for page in PAGES for block in blocks(page, "python")]
# Pages whose blocks another test runs.
OTHERS = {
    "docs/how-to/daemon.md": "tests/server/test_daemon_page.py",
    "docs/how-to/clients.md": "tests/server/test_daemon_page.py",
    "CHANGELOG.md": "the past",
}


def is_elsewhere(block: Block) -> bool:
    return str(block.page.relative_to(ROOT)) in OTHERS


def runs(block: Block) -> bool:
    return block.reason is None and not is_elsewhere(block)


def test_there_are_commands_and_reasons() -> None:
    assert sum(map(runs, SHELL)) > 12 and sum(map(runs, PYTHON)) >= 3
    for block in [*SHELL, *PYTHON]:
        assert block.reason is None or len(block.reason) >= 10, f"{block}: why is it not run?"


@pytest.mark.parametrize("block", [b for b in [*SHELL, *PYTHON] if runs(b)], ids=str)
def test_what_is_run_needs_no_checkout(block: Block) -> None:
    """Blocks are run where a user is, in a folder without these."""
    assert not re.search(r"\b(?:tests|docs|recipes|packaging)/[\w/]+\.py\b|-m recipes\.", block.code), (
        f"{block}: say why not"
    )


def test_environments_are_made_beside_the_program() -> None:
    """In a clone, `edgetts` is the program's folder: what is put there would be installed with it."""
    made = [name for block in SHELL for name in re.findall(r"-m venv (?:-\S+ )*(\S+)", block.code)]
    assert made and not [name for name in made if (ROOT / name).exists() and not name.startswith(".")]


def test_other_languages_are_shown_only() -> None:
    """A shell block under another name would be neither run nor marked."""
    for page in PAGES:
        for block in blocks(page, "console", "shell", "shell-session", "zsh"):
            pytest.fail(f"{block} is ```{block.language}; write ```bash")


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_verbs_and_options_exist(block: Block) -> None:
    root: Any = get_command(app)
    for call in commands(block.code):
        words = shlex.split(call, comments=True)
        if "--" in words:
            words = words[: words.index("--")]
        verb, at = root, list(words)
        while at and at[0] in getattr(verb, "commands", {}):
            verb = verb.commands[at.pop(0)]
        known = {name for parameter in verb.params for name in (*parameter.opts, *parameter.secondary_opts)}
        wrong = [
            w for w in at if w.startswith("-") and w != "-" and w.partition("=")[0] not in known | {"--help", "-h"}
        ]
        is_verb = verb is not root or (words and words[0].startswith("-")) or words == ["VERB", "..."] or not words
        assert is_verb and (not wrong or verb is root), f"{block}: edgetts {call}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the documents name, in which this `edgetts` is the command."""
    folder = tmp_path_factory.mktemp("place")
    program = folder / "bin" / "edgetts"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m edgetts "$@"\n')
    program.chmod(0o755)
    (folder / "bin" / "python").symlink_to(sys.executable)
    return folder


def environment(place: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EDGETTS_", "XDG_"))}
    home = str(place / "home")
    return {**kept, "HOME": home, "PATH": f"{place / 'bin'}{os.pathsep}{kept['PATH']}", "PYTHONPATH": str(ROOT)}


def fill(folder: Path) -> None:
    folder.mkdir()
    for name in ("me.wav", "sad.wav", "recording.mp3"):  # told apart by content, not by name
        shutil.copy(TESTS / "data" / "speech.ogg", folder / name)
    (folder / "book.md").write_text("# A book\n\nIt has two sentences. This is the second one.\n")
    (folder / "story.txt").write_text("This is a story. It is short.\n")


def run_block(block: Block, place: Path) -> None:
    folder = place / re.sub(r"\W", "-", str(block))
    fill(folder)
    command = (
        ["bash", "-euo", "pipefail", "-c", block.code]
        if block.language != "python"
        else [sys.executable, "-c", block.code]
    )
    done = subprocess.run(
        command, cwd=folder, env=environment(place), capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


# In the order of the pages, each page in one process: later blocks use voices and packs of earlier ones.
@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({b.page for b in SHELL if runs(b)}), ids=lambda p: str(p.relative_to(ROOT)))
def test_shell_blocks_run(page: Path, place: Path) -> None:
    shutil.rmtree(place / "home", ignore_errors=True)
    (place / "home").mkdir()
    for block in SHELL:
        if block.page == page and runs(block):
            run_block(block, place)


@pytest.mark.slow
@pytest.mark.parametrize("block", [b for b in PYTHON if runs(b)], ids=str)
def test_python_blocks_run(block: Block, place: Path) -> None:
    run_block(block, place)
