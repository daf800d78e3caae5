"""Refusals of a GPU kernel that are not failures: the library, its operator or the device is missing."""

from __future__ import annotations

import re

_MISSING = re.compile(
    r"No module named |is not installed|^Could not run 'aten::|^it runs on \w+ only|requires .*compute capability|"
    r"CUDA capability"
)


def is_missing(problem: str) -> bool:
    """Whether a trial's `problem` says that the kernel is not for this card, or that its library is absent."""
    return bool(_MISSING.search(problem))
