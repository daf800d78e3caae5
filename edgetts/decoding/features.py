"""The interface of a feature pass: codes to S2Mel's input. Each family has its own (`features` in its folder)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class FeaturePass(Protocol):
    """The features of the codes of one segment, chunk by chunk."""

    @property
    def n_codes(self) -> int:
        """Codes so far."""

    def append(self, codes: Sequence[int]) -> Tensor:
        """Add the next codes, at least one; returns the features of all codes so far (1, T, C), float32.

        The last features may change when more codes follow. Raises UsageError for values that are not codes.
        """
