"""Six equal lines or more stand in two places only where CONTRIBUTING.md lists the pair of files and says why.

What counts: the lines of sources, without white space at their ends; not blank lines, comments, imports, and
lines of punctuation alone. A run goes as far as both places are equal. A new run is merged, or its pair is listed.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEAST = 6  # lines
FOLDERS = ("edgetts", "quant", "recipes", "tests", "docs", "packaging")
KINDS = (".py", ".cpp", ".h", ".js", ".css")
_COMMENT = re.compile(r"(#|//)")
_ROW = re.compile(r"\| `([^`|]+)` \| `([^`|]+)` \| (\d+) \| \S.*\|")

Pair = tuple[str, str]


def lines_that_count(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    imports: set[int] = set()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                imports.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    found = (line.strip() for number, line in enumerate(text.splitlines(), 1) if number not in imports)
    return [line for line in found if re.search(r"\w", line) and not _COMMENT.match(line)]


def duplicates(files: dict[str, list[str]]) -> Counter[Pair]:
    """Number of equal runs of `LEAST` lines or more by pair of files, by their lines."""
    places: defaultdict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for name in sorted(files):
        lines = files[name]
        for start in range(len(lines) - LEAST + 1):
            places[tuple(lines[start : start + LEAST])].append((name, start))
    runs: Counter[Pair] = Counter()
    for equal in places.values():
        for (one, i), (other, j) in combinations(equal, 2):
            goes_on = i > 0 and j > 0 and files[one][i - 1] == files[other][j - 1]
            if not goes_on and (one != other or j - i >= LEAST):
                runs[one, other] += 1
    return runs


def listed() -> dict[Pair, int]:
    rows = map(_ROW.fullmatch, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines())
    return {(row[1], row[2]): int(row[3]) for row in rows if row is not None}


def test_what_counts_as_a_run() -> None:
    seven = [f"line {n}" for n in range(7)]
    other = ["before", *seven, "after", *seven[:5]]
    assert duplicates({"a": seven, "b": other}) == {("a", "b"): 1}
    assert duplicates({"a": seven[:5], "b": other}) == {}
    assert duplicates({"a": [*seven, "between", *seven]}) == {("a", "a"): 1}
    assert duplicates({"a": ["one line"] * 11, "b": []}) == {}  # of one place


def test_equal_lines_are_listed_with_a_reason() -> None:
    paths = {path.resolve() for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in KINDS}
    files = {path.relative_to(ROOT).as_posix(): lines_that_count(path) for path in paths}
    assert len(files) > 700
    found, known = duplicates(files), listed()
    new = {pair: n for pair, n in found.items() if n > known.get(pair, 0)}
    assert not new, f"equal runs of {LEAST} lines or more; write them once, or list the pairs in CONTRIBUTING.md: {new}"
    gone = {pair: n for pair, n in known.items() if n > found[pair]}
    assert not gone, f"CONTRIBUTING.md lists more equal runs than there are: {gone}"
