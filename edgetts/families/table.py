"""Reads a nested configuration table strictly: every key must be read, and every value must have its type.

In: plain values from YAML or JSON. Out: typed values by dotted key, and a list of all problems for one message. Knows
no particular key.
"""

from __future__ import annotations

from typing import Any

from edgetts.errors import CheckpointError
from edgetts.pack.plain_json import listed, shown
from edgetts.pack.strict import printable

# General bounds, checked before a number is used; `edgetts.pack.ranges` checks the range of each dimension.
MAX_DIMENSION = 1 << 24
MAX_REPEATS = 1024  # layers, blocks, or entries of a list
# Last part of the keys of repeat counts.
REPEATS = ("layers", "num_layers", "num_hidden_layers", "num_blocks", "vocos_num_layers", "depth", "perceiver_mult")


class Table:
    """A nested table by dotted key. Records which keys were read, and problems."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.where = where
        self.values: dict[str, Any] = {}
        self.used: set[str] = set()
        self.problems: list[str] = []
        self._flatten(values, "")

    def integer(self, key: str) -> int:
        value = self._get(key, (int,), "an integer")
        if value is None:
            return 0
        most = MAX_REPEATS if key.rpartition(".")[2] in REPEATS else MAX_DIMENSION
        if not 0 <= value <= most:
            self._problem(f"{self.where}: {key} is {shown(value)}, allowed is from 0 to {most}")
            return 0
        return int(value)

    def number(self, key: str) -> float:
        value = self._get(key, (int, float), "a number")
        if value is None:
            return 0.0
        if not abs(value) <= MAX_DIMENSION:  # also false for NaN
            self._problem(f"{self.where}: {key} is {shown(value)}, allowed is up to {MAX_DIMENSION}")
            return 0.0
        return float(value)

    def boolean(self, key: str) -> bool:
        return bool(self._get(key, (bool,), "true or false"))

    def text(self, key: str) -> str:
        return str(self._get(key, (str,), "text") or "")

    def integers(self, key: str) -> tuple[int, ...]:
        value = self._get(key, (list,), "a list of integers") or []
        if not _are_sizes(value):
            self._problem(f"{self.where}: {key} must be a list of integers from 1 to {MAX_DIMENSION}, not too long")
            return ()
        return tuple(value)

    def nested_integers(self, key: str) -> tuple[tuple[int, ...], ...]:
        value = self._get(key, (list,), "a list of lists") or []
        if len(value) > MAX_REPEATS or not all(isinstance(v, list) and _are_sizes(v) for v in value):
            self._problem(f"{self.where}: {key} must be a list of lists of integers from 1 to {MAX_DIMENSION}")
            return ()
        return tuple(tuple(v) for v in value)

    def fixed(self, key: str, allowed: Any) -> None:
        """If the key is present, it must have this value; other values are not implemented."""
        self.used.add(key)
        value = self.values.get(key, allowed)
        if value != allowed or isinstance(value, bool) != isinstance(allowed, bool):
            self.problems.append(f"{self.where}: {key} is {shown(value)}, only {allowed!r} is implemented")

    def no_effect(self, keys: tuple[str, ...]) -> None:
        self.used.update(keys)

    def unknown_keys(self) -> None:
        self.problems += [f"{self.where}: unknown key {printable(key)}" for key in self.values if key not in self.used]

    def raise_problems(self) -> None:
        if self.problems:
            raise CheckpointError(f"The checkpoint is not usable: {listed(self.problems)}; download it again.")

    def _get(self, key: str, kinds: tuple[type, ...], what: str) -> Any:
        self.used.add(key)
        if key not in self.values:
            self._problem(f"{self.where}: missing key {key}")
            return None
        value = self.values[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            self._problem(f"{self.where}: {key} must be {what}, not {shown(value)}")
            return None
        return value

    def _problem(self, text: str) -> None:
        if text not in self.problems:  # some keys are read twice
            self.problems.append(text)

    def _flatten(self, value: Any, prefix: str) -> None:
        if isinstance(value, dict) and (value or not prefix):
            for key, item in value.items():
                self._flatten(item, f"{prefix}.{key}" if prefix else str(key))
        else:
            self.values[prefix] = value


def _are_sizes(values: list[Any]) -> bool:
    return len(values) <= MAX_REPEATS and all(
        isinstance(v, int) and not isinstance(v, bool) and 0 < v <= MAX_DIMENSION for v in values
    )
