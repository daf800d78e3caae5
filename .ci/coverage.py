"""A line of coverage per package: coverage.py REPORT.json

In: coverage's JSON report. Out: for each part of edgetts, the share of statements that the tests ran in their own
process (code that only runs in subprocesses counts as not run).
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

files = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["files"]
run: dict[str, int] = defaultdict(int)
known: dict[str, int] = defaultdict(int)
for name, about in files.items():
    parts = Path(name).parts
    top = parts.index("edgetts") if "edgetts" in parts else 0  # `quant` of a checkout is `edgetts.quant`
    package = ".".join(parts[top:-1][:2])
    for key in (package, "all"):
        run[key] += about["summary"]["covered_lines"]
        known[key] += about["summary"]["num_statements"]
if not run["all"]:
    sys.exit(f"The coverage report {sys.argv[1]} has no statement of edgetts that was run: was another copy measured?")
for package in [*sorted(set(known) - {"all"}), "all"]:
    print(f"coverage {package:22} {run[package] / max(known[package], 1):6.1%} of {known[package]} statements")
