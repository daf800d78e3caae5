"""The six-minute check of a GPU: is all of it right there, and how fast is it?

    python tests/gpu/check.py --out OUT                # on a machine with a CUDA device
    python tests/gpu/check.py --out OUT --dry-run      # the same code on the CPU, small networks, eager and watched runner

Writes `OUT/check.json`, after each section anew, and `OUT/check.html`, one page. Needs no pack and no download: beside
the built-in model it takes networks of the published size with drawn weights. Stops after `--seconds` with what it has.
Exit code 1 where a check failed; speed is reported and not judged.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MARK = "pytest.mark.gpu"
sys.path[:0] = [str(HERE.parent), str(ROOT)]

import torch  # noqa: E402
from gpu import page, sections, sound  # noqa: E402


@dataclass
class Check:
    """What all sections share: where, how large, how long, and what came of it so far."""

    device: torch.device
    dry_run: bool
    out: Path
    deadline: float  # `time.monotonic`
    results: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def left_s(self) -> float:
        return self.deadline - time.monotonic()

    def expect(self, is_so: bool, what: str) -> bool:
        """Note a failure unless it is so; the check goes on."""
        if not is_so:
            self.failures.append(what)
            print(f"  FAILED: {what}", flush=True)
        return is_so

    def save(self) -> None:
        table = {"dry_run": self.dry_run, "failures": self.failures, "sections": self.results}
        (self.out / "check.json").write_text(json.dumps(table, indent=1, default=str) + "\n", encoding="utf-8")
        (self.out / "check.html").write_text(page.render(table), encoding="utf-8")


Section = Callable[[Check], dict[str, Any]]


def gpu_tests(check: Check) -> dict[str, Any]:
    """The tests that need a GPU, in a process of their own. A kernel that is refused fails there."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    # Only files with such tests: others need libraries that a GPU machine may lack.
    files = [str(path) for path in sorted(HERE.parent.rglob("test_*.py")) if MARK in path.read_text(encoding="utf-8")]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *files]
    run = subprocess.run(
        [*command, "--collect-only"] if check.dry_run else command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=max(10.0, min(150.0, check.left_s)),
        check=False,
    )
    tail = run.stdout.strip().splitlines()[-12:]
    check.expect(
        run.returncode == 0, f"pytest -m gpu ended with {run.returncode}: {tail[-1] if tail else run.stderr[-300:]}"
    )
    return {"returncode": run.returncode, "tail": tail}


SECTIONS: dict[str, Section] = {
    "machine": sections.machine,
    "decode": sections.decode,
    "kernels": sections.kernels,
    "stream": sections.stream,
    "vocoder": sound.vocoder,
    "acoustic": sound.acoustic,
    "parity": sound.parity,
    "memory": sound.memory,
    "built-in": sections.built_in,
    "upstream": sections.upstream,
    "second start": sections.second_start,
    "tests": gpu_tests,
}


def run(check: Check, names: list[str]) -> int:
    """The sections in order; the exit code."""
    for name in names:
        if check.left_s <= 0:
            check.results[name] = {"skipped": "no time was left"}
            continue
        print(f"{name} ({check.left_s:.0f} s left)", flush=True)
        started = time.monotonic()
        try:
            found = SECTIONS[name](check)
        except Exception as error:  # whatever it is, the other sections shall be seen
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}"}
            check.failures.append(f"{name}: {found['error'].splitlines()[0]}")
        check.results[name] = {**found, "seconds": round(time.monotonic() - started, 2)}
        check.save()
        if check.device.type == "cuda":
            torch.cuda.empty_cache()
    check.save()
    print(f"{len(check.failures)} failures, written to {check.out / 'check.html'}")
    return 1 if check.failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=360.0, help="stop after so long, with what there is")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, with small networks")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="a section; may be given again")
    args = parser.parse_args()
    if not args.dry_run and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device here: give --dry-run to try the check itself")
    args.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cpu" if args.dry_run else "cuda:0")
    check = Check(device, args.dry_run, args.out, time.monotonic() + args.seconds)
    return run(check, args.only or list(SECTIONS))


if __name__ == "__main__":
    sys.exit(main())
