"""The names of the normalizers, apart from them, so that what only names one (a request, a client) loads no rules."""

from __future__ import annotations

from typing import Literal, get_args

from edgetts.errors import UsageError

NormalizerName = Literal["edgetts", "upstream"]
NORMALIZERS: tuple[NormalizerName, ...] = get_args(NormalizerName)
DEFAULT_NORMALIZER: NormalizerName = "edgetts"


def check_normalizer(name: str) -> NormalizerName:
    """`name`, if it is one of NORMALIZERS. Raises UsageError otherwise."""
    for known in NORMALIZERS:
        if name == known:
            return known
    raise UsageError(f"Unknown normalizer {name!r}; choose one of {', '.join(NORMALIZERS)}.")
