"""`python -m edgetts.quant ...` is `edgetts quantize ...`."""

from __future__ import annotations

import sys

from edgetts.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "quantize")
    main()
