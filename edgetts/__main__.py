"""`python -m edgetts` is `edgetts`."""

from __future__ import annotations

from edgetts.cli import main

main()
