"""Upstream's configuration files as our `ModelConfig`.

In: `config.yaml` of the checkpoint and the `config.json` of w2v-BERT and BigVGAN. Out: the family's `ModelConfig` and
the names of the checkpoint's own files. Strict: every key of `config.yaml` is read, or required to have the one value
that our networks implement, or known to have no effect on speech; unknown and missing keys and wrong values are all
reported in one `CheckpointError`. What a family's checkpoint has is in its folder of `edgetts.families`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetts.errors import CheckpointError
from edgetts.families import FAMILIES, Family
from edgetts.families.published import Published
from edgetts.families.table import Table
from edgetts.pack.config import ModelConfig
from edgetts.pack.plain_json import listed, read_json, shown
from edgetts.pack.relations import model_problems
from edgetts.text.plain_yaml import read_yaml

_MAX_CONFIG_BYTES = 128 << 10  # the published ones have some KB
_MAX_REASON = 200


@dataclass(frozen=True)
class UpstreamConfig:
    """`config.yaml`, recognized as a family's. `files`: key -> name inside the checkpoint folder."""

    family: Family
    table: Table
    files: dict[str, str]

    @property
    def published(self) -> Published:
        return published(self.family)


def published(family: Family) -> Published:
    """What is known about a family's checkpoint."""
    described: Published = family.part("checkpoint").CHECKPOINT
    return described


def alternatives() -> str:
    """The repositories that can be converted, for the end of a sentence."""
    return " or ".join(published(family).repository for family in reversed(FAMILIES.values()))


def read_upstream_config(path: Path) -> UpstreamConfig:
    """Read `config.yaml`. Raises CheckpointError for a version that no family has."""
    table = Table(_read(path, _yaml), str(path))
    family = _family(table, path)
    known = published(family)
    files = {key: table.text(name) for key, name in known.file_keys.items()} | dict(known.files)
    table.raise_problems()
    return UpstreamConfig(family, table, files)


def model_config(upstream: UpstreamConfig, w2v_bert_path: Path, bigvgan_path: Path) -> ModelConfig:
    """All dimensions. Raises CheckpointError listing every problem of the three files."""
    c = upstream.table
    w = Table(_read(w2v_bert_path, _json), str(w2v_bert_path))
    v = Table(_read(bigvgan_path, _json), str(bigvgan_path))
    config = upstream.published.model_config(c, w, v)
    c.unknown_keys()
    problems = c.problems + w.problems + v.problems or model_problems(config)
    if problems:
        raise CheckpointError(
            f"The configuration of this checkpoint is not one that can be converted: {listed(problems)}."
        )
    return config


def _family(table: Table, path: Path) -> Family:
    version = table.values.get("version")
    number = float(version) if isinstance(version, (int, float)) and not isinstance(version, bool) else None
    table.used.add("version")
    old = any(key.startswith(("bigvgan", "vqvae", "dvae_checkpoint")) for key in table.values)
    if (number is not None and 1 <= number < 2) or (number is None and old):
        which = f"IndexTTS {number:g}" if number is not None else "IndexTTS 1.x"
        raise CheckpointError(f"{path} belongs to {which}, which is another model: download {alternatives()}.")
    for family in FAMILIES.values():
        known = published(family)
        if number == known.version or (number is None and any(k.endswith(known.marks) for k in table.values)):
            return family
    can = " and ".join(f"{published(family).version:g} ({family.title})" for family in FAMILIES.values())
    raise CheckpointError(
        f"{path} gives version {shown(version)}; checkpoints of versions {can} can be converted: download "
        f"{alternatives()}."
    )


def _read(path: Path, parse: Callable[[bytes], Any]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_CONFIG_BYTES + 1)
        if len(data) > _MAX_CONFIG_BYTES:
            raise CheckpointError(f"{path} is too large for a configuration: download it again.")
        table = parse(data)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}): check who may read it.") from error
    except ValueError as error:  # not UTF-8, not what it should be, or out of bounds
        reason = shown(" ".join(str(error).split()), _MAX_REASON).strip("'\"")
        raise CheckpointError(f"{path} cannot be read ({reason}): download it again.") from error
    if not isinstance(table, dict):
        raise CheckpointError(f"{path} is not a configuration: it holds no keys; download it again.")
    return table


def _yaml(data: bytes) -> Any:
    return read_yaml(data.decode("utf-8"))


def _json(data: bytes) -> Any:
    return read_json(data, max_bytes=_MAX_CONFIG_BYTES)
