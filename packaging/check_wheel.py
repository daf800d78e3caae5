"""Looks into a wheel before it is published: check_wheel.py WHEEL [--without-kernels]

In: a wheel file. Out: its size, and files and bytes of each part; exit code 1 and a sentence where something is missing
that the program needs, or something is in it that has no business in site-packages. It needs nothing but Python.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections import Counter
from pathlib import Path

KERNELS = "edgetts/native/_kernels.so"
NEEDED = (
    "edgetts/__init__.py",
    "edgetts/py.typed",
    "edgetts/quant/__main__.py",
    "edgetts/quant/hqq.py",
    "edgetts/recipes/cpu-x86.toml",
    "edgetts/recipes/jetson-orin-nano.toml",
    "edgetts/server/static/index.html",
    "edgetts/builtin/tiny/manifest.json",
    "edgetts/builtin/tiny/gpt.safetensors",
    "edgetts/builtin/tiny/LICENSE-NOTE.md",
)
FOREIGN = re.compile(r"(^|/)(tests?|tiny/stages|__pycache__)/|^edgetts/recipes/.*\.py$|\.(cpp|h|inc|o|md~)$")
MAX_BYTES = 100_000_000  # what an index takes


def problems(wheel: Path, *, with_kernels: bool = True) -> list[str]:
    """What is wrong with it, a sentence each."""
    with zipfile.ZipFile(wheel) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        about = next(name for name in names if name.endswith(".dist-info/WHEEL"))
        tags = re.findall(r"^Tag: (.*)$", archive.read(about).decode(), flags=re.MULTILINE)
    found = [f"{name} is missing" for name in NEEDED if name not in names]
    tops = {name.split("/")[0] for name in names} - {about.split("/")[0]}
    found += [f"{top} would be installed beside edgetts" for top in sorted(tops - {"edgetts"})]
    found += [f"{name} should not be installed" for name in names if FOREIGN.search(name)]
    if with_kernels and KERNELS not in names:
        found.append(f"{KERNELS} is missing: the kernels were not compiled")
    if any(not tag.startswith("py3-none-") for tag in tags) or not tags:
        found.append(f"its tags are {', '.join(tags)}, but the kernels need nothing of Python: py3-none-...")
    if wheel.stat().st_size > MAX_BYTES:
        found.append(f"it has {wheel.stat().st_size / 1e6:.0f} MB; indexes take {MAX_BYTES / 1e6:.0f}")
    return found


def parts(wheel: Path) -> list[tuple[str, int, int]]:
    """(folder, files, bytes unpacked), largest first."""
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            key = "/".join(info.filename.split("/")[:-1][:2])
            files[key] += 1
            sizes[key] += info.file_size
    return [(key, files[key], size) for key, size in sizes.most_common()]


def main() -> None:
    wheel = Path(sys.argv[1])
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
    for key, count, size in parts(wheel):
        print(f"  {key:32} {count:4} files {size / 1e6:8.2f} MB")
    found = problems(wheel, with_kernels="--without-kernels" not in sys.argv[2:])
    if found:
        sys.exit("\n".join(f"{wheel.name}: {line}" for line in found))


if __name__ == "__main__":
    main()
