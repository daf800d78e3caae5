"""Without an extra: nothing imports its libraries, and what needs it says in one sentence what to install."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import Edgetts
from helpers.gpt_weights import quantized
from helpers.paths import TESTS

from edgetts.backends.kernels.registry import KERNELS
from edgetts.distribution import install
from edgetts.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = TESTS.parent
# Requirement -> what is imported of it. The extras `test`, `docs` and `train` are for developers.
MODULES = {
    "sounddevice": ["sounddevice"],
    "fugashi": ["fugashi"],
    "unidic-lite": ["unidic_lite"],
    "bitsandbytes": ["bitsandbytes"],
    "torchao": ["torchao"],
    "huggingface_hub": ["huggingface_hub"],
    "starlette": ["starlette"],
    "uvicorn": ["uvicorn"],
    "python-multipart": ["multipart", "python_multipart"],
    "prometheus-client": ["prometheus_client"],
    "websockets": ["websockets"],
    "wyoming": ["wyoming"],
    "zeroconf": ["zeroconf"],
}
OPTIONAL = {name for names in MODULES.values() for name in names}
# Imported once `edgetts serve` has looked for its libraries: these may import them at the top.
BEHIND_SERVE = {"starlette", "uvicorn", "prometheus_client", "websockets", "wyoming"}
BLOCK = f"import sys; sys.modules.update(dict.fromkeys({sorted(OPTIONAL)!r}))"


def python_files() -> list[Path]:
    return sorted([*(ROOT / "edgetts").rglob("*.py"), *(ROOT / "quant").rglob("*.py")])


def imports_at_the_top(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    later = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if node in later:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] in modules:
            monkeypatch.setitem(sys.modules, name, None)
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)


def test_every_library_of_an_extra_is_known_here() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = {
        re.split(r"[<>=;\[ ]", line)[0]
        for name, lines in extras.items()
        if name not in ("test", "docs", "train")
        for line in lines
    }
    assert wanted == set(MODULES)


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_libraries_of_extras_are_imported_late(path: Path) -> None:
    allowed = BEHIND_SERVE if path.parent == ROOT / "edgetts" / "server" else set()
    assert imports_at_the_top(path) & OPTIONAL <= allowed


def test_everything_but_the_daemon_can_be_imported_without_extras() -> None:
    needs = {path for path in python_files() if imports_at_the_top(path) & (OPTIONAL | {"triton"})}
    names = [
        ".".join(["edgetts", *path.relative_to(ROOT / "edgetts").with_suffix("").parts])
        if path.is_relative_to(ROOT / "edgetts")
        else ".".join(["edgetts.quant", *path.relative_to(ROOT / "quant").with_suffix("").parts])
        for path in python_files()
        if path not in needs and path.parent.name != "server" and path.stem != "__main__"
    ]
    names = [name.removesuffix(".__init__") for name in names]
    assert len(names) > 250 and {"edgetts.api", "edgetts.quant.download", "edgetts.cli.serve"} <= set(names)
    code = f"{BLOCK}\nimport importlib\nfor name in {names!r}: importlib.import_module(name)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_help_needs_no_extra() -> None:
    """Of every verb, in one process."""
    code = (
        f"{BLOCK}\nfrom edgetts.cli.app import app\nfrom typer.main import get_command\n"
        "for verb in get_command(app).commands:\n"
        "    try: app([verb, '--help'])\n"
        "    except SystemExit as stop: assert not stop.code, verb\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0 and "--host" in done.stdout and "--mirror" in done.stdout, done.stderr[-2000:]


def test_speech_in_a_file_and_a_list_of_findings_need_no_extra(tmp_path: Path) -> None:
    say = [
        "edgetts",
        "say",
        "Hello.",
        "-o",
        str(tmp_path / "x.wav"),
        "--steps",
        "2",
        "--max-codes",
        "20",
        "--no-guards",
    ]
    for words in (say[:5], ["edgetts", "doctor", "--json"]):
        code = f"{BLOCK}; sys.argv = {words!r}; from edgetts.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={"EDGETTS_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        )
        assert "Traceback" not in done.stderr, done.stderr[-2000:]
    assert (tmp_path / "x.wav").stat().st_size > 1000
    assert json.loads(done.stdout)


@pytest.mark.parametrize(
    ("words", "gone", "extra"),
    [
        (["say", "Hello."], ["sounddevice"], "play"),
        (["serve"], ["starlette"], "serve"),
        (["serve"], ["multipart"], "serve"),
        (["serve", "--wyoming", "tcp://127.0.0.1:0"], ["wyoming"], "wyoming"),
        (["serve", "--wyoming", "tcp://127.0.0.1:0", "--wyoming-name", "x"], ["zeroconf"], "wyoming"),
        (["download", "IndexTTS-2.5"], ["huggingface_hub"], "download"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_verb_says_what_to_install(
    edgetts: Edgetts, monkeypatch: pytest.MonkeyPatch, words: list[str], gone: list[str], extra: str
) -> None:
    without(monkeypatch, *gone)
    done = edgetts(*words)
    assert done.exit_code in (1, 2)
    assert f"`{install(extra)}`" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_kernel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "bitsandbytes")
    (kernel,) = [kernel for kernel in KERNELS if kernel.name == "bitsandbytes"]
    with pytest.raises(UsageError, match=r"`pip install 'edgetts-runtime\[nf4\]'`"):
        kernel.pack(quantized("nf4_group", 64, (64, 64)))
