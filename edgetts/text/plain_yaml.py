"""Reads untrusted YAML within bounds that are checked during parsing.

In: text. Out: plain values, or an `InvalidYAML` whose text ends a sentence ("it refers to ..."). Refused are features
that can grow without bounds: aliases, which expand a few bytes to any number of values, and numbers of very many
digits. Does not know file formats.
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_DEPTH = 32
MAX_NODES = 100_000
MAX_NUMBER_CHARS = 40  # of a number; 64 bits need 20
_MAX_REASON = 200


class InvalidYAML(ValueError):
    """The defect of the text, as the end of a sentence."""


def read_yaml(text: str) -> Any:
    """The value of `text`. Raises only InvalidYAML."""
    try:
        return yaml.load(text, Loader=_BoundedLoader)
    except InvalidYAML:
        raise
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, AttributeError, KeyError, TypeError) as error:
        raise InvalidYAML(" ".join(str(error).split())[:_MAX_REASON] or type(error).__name__) from error


class _BoundedLoader(yaml.SafeLoader):
    """The library's safe loader with bounds."""

    depth = 0
    n_nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise InvalidYAML("it has an alias (`*`), which is not allowed: write the value out")
        self.n_nodes += 1
        if self.n_nodes > MAX_NODES:
            raise InvalidYAML(f"it has more than {MAX_NODES} values")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InvalidYAML(f"it is nested deeper than {MAX_DEPTH} levels")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def number(self, node: Any) -> Any:
        if len(str(node.value)) > MAX_NUMBER_CHARS:
            raise InvalidYAML(f"a number in it has {len(str(node.value))} characters")
        if node.tag == "tag:yaml.org,2002:int":
            return self.construct_yaml_int(node)
        return self.construct_yaml_float(node)


for _tag in ("int", "float"):
    _BoundedLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _BoundedLoader.number)
