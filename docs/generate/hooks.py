"""MkDocs hooks: pages of the repository outside docs/, the generated references, links between all of them.

In: the Markdown of docs/ and `OUTSIDE`, as they are read in the repository. Out: the same for the site: a mark such as
`<!-- generated: cli -->` becomes what the program says of itself, and links between files of the repository lead to
their pages.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import cli_reference
import http_reference
import python_reference
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
# File of the repository to page of the site.
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "recipes/README.md": "reference/recipes.md",
    "recipes/tiny/README.md": "experiments/training.md",
}
GENERATED = {
    "cli": cli_reference.markdown,
    "python": python_reference.markdown,
    "http": http_reference.markdown,
}
_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_EXAMPLE = re.compile(r"^<!-- example: ([\w.]+) -->$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_config(config: Any) -> Any:
    """Name every page of docs/experiments in the navigation: notes are added without an entry of their own."""
    for entry in config.nav:
        for title, below in entry.items():
            if isinstance(below, list):
                entry[title] = [page for item in below for page in _globbed(item)]
    return config


def _globbed(item: dict[str, str]) -> list[dict[str, str]]:
    """A navigation entry whose path is a pattern as the entries of the pages that fit it."""
    (path,) = item.values()
    if "*" not in path:
        return [item]
    found = sorted((ROOT / "docs").glob(path))
    return [{_title(page): page.relative_to(ROOT / "docs").as_posix()} for page in found]


def _title(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def on_files(files: Files, config: Any) -> Files:
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with its generated parts and the site's links."""
    uri = page.file.src_uri
    source = next((s for s, p in OUTSIDE.items() if p == uri), f"docs/{uri}")
    made = _MARK.sub(lambda mark: GENERATED[mark[1]](), _EXAMPLE.sub(lambda mark: _example(mark[1]), markdown))
    parts = _CODE.split(made)  # code at odd positions
    parts[::2] = [_LINK.sub(lambda link: _linked(link, source, uri), part) for part in parts[::2]]
    return "".join(parts)


def _example(name: str) -> str:
    code = (ROOT / "docs/examples" / name).read_text(encoding="utf-8")
    return f"```python\n{code}```"


def _linked(link: re.Match[str], source: str, uri: str) -> str:
    """A link of the repository as one of the site; of a file that is no page, only its words."""
    image, words, target, anchor = link.groups()
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if not (ROOT / path).exists():
        raise PluginError(f"{source} links to {target}, which does not exist.")
    page = OUTSIDE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
    if page is None or (ROOT / path).is_dir():
        return f"{words} (`{path}`)"
    return f"{image}[{words}]({posixpath.relpath(page, posixpath.dirname(uri) or '.')}{anchor or ''})"
