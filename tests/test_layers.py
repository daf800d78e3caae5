"""The layers of the project hold: who may import whom, and what must start without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Lowest first. Names of one layer may not import each other; inside a folder everything may.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("progress", "files", "compute", "distribution"),
    ("text", "audio", "native"),  # native: compiled code, which packs and backends call
    ("pack",),
    ("models",),
    ("decoding",),  # algorithms
    ("backends",),
    ("options",),  # the ranges of a call's knobs
    ("voices", "attempt"),
    ("pipeline",),
    ("memory",),
    ("streaming",),
    ("parity", "speech", "request"),
    ("planner",),  # what the public face is made of
    ("api",),
    ("bench",),  # measures the public face and what is below
    ("server",),
    ("cli",),
)
PACKAGES = ("edgetts", "quant", "recipes")
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# The pipeline and what it stands on, to calibrate and measure by speaking.
QUANT_MAY_IMPORT = {
    "errors",
    "progress",
    "files",
    "compute",
    "distribution",
    "text",
    "audio",
    "pack",
    "models",
    "decoding",
    "backends",
    "options",
    "voices",
    "pipeline",
    "version",
}
# A family's folder holds files of several layers; `edgetts.families` itself belongs to the packs.
LAYER_OF_FAMILY_FILES = {
    "networks": "models",
    "frontend": "pack",
    "gpt": "models",
    "conditioning": "models",
    "codec_decoder": "models",
    "features": "decoding",
    "voice": "voices",
    "parity": "parity",
    "work": "bench",
}
VERBS_THAT_USE_QUANT = {
    "edgetts/cli/convert.py",
    "edgetts/cli/download.py",
    "edgetts/cli/hubs.py",
    "edgetts/cli/packs.py",
    "edgetts/cli/quantize.py",
    "edgetts/cli/setup/choices.py",
    "edgetts/cli/setup/plan.py",
    "edgetts/cli/setup/steps.py",
    "edgetts/cli/setup/verb.py",
}


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def imports(path: Path) -> list[tuple[str, bool]]:
    """(absolute module or module.name, whether it stands at the top of the file) of every import at run time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        node
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and "TYPE_CHECKING" in ast.unparse(test.test)
        for statement in test.body
        for node in ast.walk(statement)
    }
    inner = {
        node
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node not in inner) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found += [(f"{node.module}.{alias.name}", node not in inner) for alias in node.names]
    return found


def layer_of(module: str) -> str:
    """The part of edgetts that a module belongs to; "version" for the names of the package itself."""
    parts = module.split(".")
    if len(parts) > 1 and parts[1] == "families":
        return next((LAYER_OF_FAMILY_FILES[part] for part in parts if part in LAYER_OF_FAMILY_FILES), "pack")
    return "version" if len(parts) == 1 or parts[1] == "__version__" else parts[1]


@pytest.mark.parametrize("path", sources("edgetts"), ids=lambda p: str(p.relative_to(ROOT)))
def test_each_layer_imports_only_those_below(path: Path) -> None:
    relative = path.relative_to(ROOT / "edgetts")
    here = layer_of(".".join(["edgetts", *relative.with_suffix("").parts]))
    if here in ("__init__", "__main__"):
        return
    assert here in RANK, f"{relative} belongs to no layer: add it to LAYERS"
    for module, _ in imports(path):
        if module.split(".")[0] != "edgetts" or layer_of(module) == "quant":
            continue
        there = layer_of(module)
        if there in (here, "version"):
            continue
        assert RANK[there] < RANK[here], f"{relative} imports {module}, which is not below it"


@pytest.mark.parametrize("path", sources("edgetts"), ids=lambda p: str(p.relative_to(ROOT)))
def test_quant_is_used_by_its_verbs_only_and_late(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    for module, at_top in imports(path):
        assert module.split(".")[0] not in ("quant", "recipes"), f"{relative} imports {module}, which is not installed"
        if layer_of(module) == "quant":
            assert relative in VERBS_THAT_USE_QUANT, f"{relative} imports {module}"
            assert not at_top, f"{relative} imports {module} before it is needed"


@pytest.mark.parametrize("path", sources("quant"), ids=lambda p: str(p.relative_to(ROOT)))
def test_quant_imports_only_what_it_may(path: Path) -> None:
    allowed = QUANT_MAY_IMPORT | {"quant"} | ({"cli"} if path.name == "__main__.py" else set())
    for module, _ in imports(path):
        assert module.split(".")[0] not in ("quant", "recipes"), f"{path.name} imports {module}, which is not installed"
        if module.split(".")[0] == "edgetts":
            assert layer_of(module) in allowed, f"{path.name} imports {module}"


def test_no_module_imports_itself_through_others() -> None:
    """Late imports count, too: a circle is a circle, whenever it closes."""
    files = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for name in PACKAGES for p in sources(name)}
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    graph = {
        name: {found if found in modules else found.rpartition(".")[0] for found, _ in imports(path)} - {name}
        for name, path in modules.items()
    }
    # Left are those that both import and are imported by what is left.
    while outside := [n for n in graph if not graph[n] & graph.keys() or not any(n in used for used in graph.values())]:
        for name in outside:
            del graph[name]
    assert not graph, f"these import each other in a circle: {', '.join(sorted(graph))}"


def test_pickles_are_opened_in_one_place_only() -> None:
    places = [
        str(path.relative_to(ROOT))
        for package in ("edgetts", "quant")
        for path in sources(package)
        if "torch.load(" in path.read_text(encoding="utf-8")
    ]
    assert places == ["quant/weights.py"]
    assert "import pickle" not in "".join(p.read_text(encoding="utf-8") for p in sources("edgetts"))


def loaded_by(code: str) -> set[str]:
    """Top-level modules, and `edgetts.quant`, that a fresh interpreter has loaded after running `code`."""
    script = f"import sys\n{code}\nprint('modules:', *sorted({{n if n == 'edgetts.quant' else n.split('.')[0] for n in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "code",
    [
        "import edgetts",
        "import edgetts.pack.manifest, edgetts.pack.config",
        "sys.argv = ['edgetts', '--help']\nfrom edgetts.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code",
    ],
    ids=["import edgetts", "read a manifest", "edgetts --help"],
)
def test_starts_without_torch(code: str) -> None:
    heavy = {"torch", "transformers", "soundfile", "soxr", "wetext", "edgetts.quant"}
    assert not heavy & loaded_by(code)


def test_say_loads_nothing_that_a_daemon_has() -> None:
    """Rules of reading, dimensions of packs, voice files and other verbs: 0.1 s of each call."""
    rare = ["torch", "asyncio", "edgetts.text.normalize", "edgetts.pack.config", "edgetts.voices.store"]
    rare += ["edgetts.memory", "edgetts.cli.bench", "edgetts.cli.serve", "edgetts.cli.voices"]
    script = (
        "import sys\nsys.argv = ['edgetts', 'say', 'Hello.', '-v', 'me', '--socket', '/nonexistent', '-o', 'x.wav']\n"
        "from edgetts.cli import main\ntry:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 2\n"
        f"print('edgetts.server.client' in sys.modules, [name for name in {rare} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "True []\n"


def test_the_api_starts_without_what_few_calls_need() -> None:
    """Encoders, what reads recordings and glossaries, the Chinese rules, and the pattern of any rule."""
    script = (
        "import sys, edgetts.api\n"
        "from edgetts.text.readings import english\n"
        "rare = ['yaml', 'soundfile', 'soxr', 'wetext', 'torch._dynamo', 'edgetts.text.readings.chinese',\n"
        "        'edgetts.voices.enroll', 'edgetts.audio.io']\n"
        "print([name for name in rare if name in sys.modules], sum('pattern' in vars(r) for r in english.RULES))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "[] 0\n"
