"""The fenced blocks of the documents, and why some of them are not run.

A block is run unless the line before it is `<!-- not run: REASON -->`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers.paths import TESTS

ROOT = TESTS.parent
FOLDERS = ("docs", "recipes")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*) -->\n)?(?P<indent> *)```(?P<language>[^\n]*)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_REASON = "not run: "


@dataclass(frozen=True)
class Block:
    """A fenced block. reason: why it is not run; None: it is."""

    page: Path
    line: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """The blocks of a page in these languages."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        if found["language"] not in languages:
            continue
        mark = found["mark"] or ""
        reason = mark.removeprefix(_REASON) if mark.startswith(_REASON) else None
        if mark == "test-command":  # `.ci/run` reads it from there
            reason = "the test suite itself"
        yield Block(page, text.count("\n", 0, found.start("indent")) + 1, found["language"], found["code"], reason)


def commands(code: str) -> Iterator[str]:
    """The calls of `edgetts` in a shell block, one each, without what comes before and after them in a pipe."""
    joined = re.sub(r"\\\n\s*", " ", code)
    for line in joined.splitlines():
        yield from re.findall(
            r"(?:^|[|;&(]\s*|\bsudo )edgetts ((?:\"[^\"]*\"|'[^']*'|[^\"'|;&#>)]|(?<=\S)#)*)", line.strip()
        )
