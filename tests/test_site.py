"""The site of the documents is built without a warning; its links lead somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from helpers.paths import TESTS
from typer.main import get_command

import edgetts
from edgetts.cli.app import app

ROOT = TESTS.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = pytest.importorskip("mkdocs.commands.build", reason='the site needs the extra: pip install -e ".[docs]"')
    pytest.importorskip("material", reason='the site needs the extra: pip install -e ".[docs]"')
    from mkdocs.config import load_config

    target = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(target), strict=True)
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("mkdocs").addHandler(handler)
    try:
        config.plugins.on_startup(command="build", dirty=False)
        build.build(config)
    finally:
        logging.getLogger("mkdocs").removeHandler(handler)
    assert not warnings
    return target


def text(site: Path, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


def test_links_and_pictures_lead_somewhere(site: Path) -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    anchors = {path: set(re.findall(r'\bid="([^"]+)"', html)) for path, html in pages.items()}
    n_links = 0
    for path, html in pages.items():
        for target in re.findall(r'\b(?:href|src)="([^"]+)"', html):
            if re.match(r"\w+:", target) or path.name == "404.html":
                continue
            place, anchor = urldefrag(target)
            file = (path.parent / unquote(place)).resolve() if place else path
            file = file / "index.html" if file.is_dir() else file
            assert file.is_file(), f"{path.relative_to(site)} links to {target}"
            assert not anchor or file not in anchors or anchor in anchors[file], f"{path.name} links to {target}"
            n_links += 1
    assert n_links > 500


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|audio|source)[^>]*\ssrc="(\w+:[^"]*)"', html)
        loaded += re.findall(r'<link[^>]*rel="(?:stylesheet|preload|icon|preconnect)"[^>]*href="(\w+:[^"]*)"', html)
        assert not [url for url in loaded if not url.startswith("data:")], path


def test_references_are_complete(site: Path) -> None:
    cli, python, http = (text(site, f"reference/{name}.html") for name in ("cli", "python", "http"))
    for verb, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"<code>edgetts {verb}" in cli or f">edgetts {verb}<" in cli, verb
        for parameter in command.params:
            for name in (o for o in parameter.opts if o.startswith("--")):
                assert f"<code>{name}</code>" in cli, (verb, name)
    for name in set(edgetts.__all__) - {"__version__"}:
        assert f">{name}<" in python, name
    for name in ("TTS.load", "TTS.stream", "Audio.save", "SpeechStream.play", "preset_options"):
        assert f">{name}<" in python, name
    assert "POST /v1/audio/speech" in http and "<code>response_format</code>" in http


def test_every_page_is_in_the_navigation(site: Path) -> None:
    index = text(site, "index.html")
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert f'href="{name}"' in index, f"{name} is not in the navigation of mkdocs.yml"


def test_no_mark_of_the_source_is_shown(site: Path) -> None:
    """Bars in tables are the usual victims: an entity in code, or a backslash, is shown as it is."""
    for path in site.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        assert not re.findall(r"&amp;#\d+;|<code>[^<]*\\\|[^<]*</code>", html), path.name


def test_errors_of_a_function_are_no_part_of_its_last_argument(site: Path) -> None:
    items = re.findall(r"<li>(.*?)</li>", text(site, "reference/python.html"), flags=re.DOTALL)
    assert len(items) > 50 and not [item for item in items if " Raises " in item]
    assert "<p>Raises PackError" in text(site, "reference/python.html")
