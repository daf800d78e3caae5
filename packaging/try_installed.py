"""Tries an installed edgetts, run by the Python of its environment: try_installed.py [--kernels]

In: an environment with edgetts and nothing of its extras. It is imported, says a sentence with the built-in model,
checks itself, and names the extra that each other verb needs. `--kernels`: the compiled kernels must be there and load.
Out: a line for each, exit code 1 at the first that fails. Run it away from a checkout.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

COMMAND = [str(Path(sys.executable).with_name("edgetts"))]
# What needs an extra -> the extra. The extra `download` is not among them: tokenizers brings its library along.
NEED_EXTRAS = {
    ("serve",): "serve",
    ("say", "Hello."): "play",
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=600, check=False)


def fail(what: str, done: subprocess.CompletedProcess[str]) -> None:
    sys.exit(f"FAILED: {what} (exit code {done.returncode})\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def main() -> None:
    import edgetts
    from edgetts.distribution import install, recipes_folder

    place = Path(edgetts.__file__).parent
    if not place.is_relative_to(sys.prefix):
        sys.exit(f"FAILED: edgetts is imported from {place}, not from {sys.prefix}")
    if (recipes_folder() / "tiny").exists() or not (recipes_folder() / "cpu-x86.toml").is_file():
        sys.exit(f"FAILED: {recipes_folder()} does not hold the recipes alone")
    print(f"imports edgetts {edgetts.__version__}")
    done = run("--version")
    if done.returncode or done.stdout != f"edgetts {edgetts.__version__}\n":
        fail("edgetts --version", done)

    if "--kernels" in sys.argv[1:]:
        from edgetts.native import library

        loaded = library.find_library()
        if loaded is None:
            sys.exit(f"FAILED: {library.LIBRARY_FILE} is missing or does not load")
        print(f"compiled kernels: {library.LIBRARY_FILE.stat().st_size / 1e6:.2f} MB, for {loaded.usable(None).name}")

    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "x.wav"
        done = run("say", "Hello.", "-o", str(sound))
        if done.returncode:
            fail("edgetts say", done)
        import soundfile
        import torch

        seconds = soundfile.info(sound).duration
        if not 0.3 < seconds < 5:
            sys.exit(f"FAILED: the sentence is {seconds:.2f} s long")
    print(f"Python {sys.version.split()[0]}, torch {torch.__version__}: said {seconds:.2f} s")

    done = run("doctor", "--json")
    try:
        json.loads(done.stdout)
    except ValueError:
        fail("edgetts doctor --json", done)
    done = subprocess.run(
        [sys.executable, "-m", "edgetts.quant", "--help"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        fail("python -m edgetts.quant", done)
    for arguments, extra in NEED_EXTRAS.items():
        done = run(*arguments)
        if done.returncode == 0 or install(extra) not in done.stderr or "Traceback" in done.stderr:
            fail(f"edgetts {' '.join(arguments)} does not say `{install(extra)}`", done)
    print(f"names the extras {', '.join(NEED_EXTRAS.values())}; doctor and python -m edgetts.quant run")


if __name__ == "__main__":
    main()
