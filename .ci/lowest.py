"""The lowest torch that fits: `pip index versions torch | lowest.py pyproject.toml`.

In: pip's list of versions on stdin, and the file with the range. Out: one version on stdout.
"""

import re
import sys
from pathlib import Path


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version.partition("+")[0])))


bounds = re.search(r'"torch>=(\d+(?:\.\d+)*)[a-z]*\d*,<([\d.]+)"', Path(sys.argv[1]).read_text(encoding="utf-8"))
listed = re.search(r"^Available versions: (.*)$", sys.stdin.read(), re.MULTILINE)
if bounds is None or listed is None:
    sys.exit("No range of torch in pyproject.toml, or no list of its versions from pip.")
fits = [v for v in listed[1].split(", ") if numbers(bounds[1]) <= numbers(v) < numbers(bounds[2])]
if not fits:
    sys.exit(f"The index has no torch from {bounds[1]} to below {bounds[2]}: {listed[1]}")
print(min(fits, key=numbers))
