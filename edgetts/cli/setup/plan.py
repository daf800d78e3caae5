"""What `edgetts setup` will do on this machine: what is there already, how large the rest is, how long it may take.

In: the choices. Out: a `SetupPlan`; nothing is written. Times are estimates: rates that were measured once, which
`recipes/README.md` and the page about performance name, times the bytes of the case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgetts.cli.setup.look import GIB, free_bytes
from edgetts.errors import CheckpointError, DownloadError, PackError, UsageError
from edgetts.pack.locate import MANIFEST, data_folder, packs_folder

if TYPE_CHECKING:
    from edgetts.families import Family
    from edgetts.quant.download import Plan
    from edgetts.quant.recipe import Recipe

# Measured with IndexTTS-2 at full size: rounding took 25 s for 6.9 GB on two cores of a server
# (docs/experiments/setup.md); calibrating and comparing, which run the model, 28 minutes on one (recipes/README.md).
_ROUNDED_BYTES_PER_S = 270e6
_RUN_BYTES_PER_S = 3.6e6
_LINE_BYTES_PER_S = 6.25e6  # 50 Mbit/s, named beside the estimate
_LINE = "50 Mbit/s"
_MB = 1_000_000
_SPARE_BYTES = 256 << 20
_MINUTE_S = 60.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class SetupPlan:
    """checkpoint: folder to read from; is_here: it is complete. download: what to get, if it is not. checkpoint_bytes:
    of its files, 0 if it is not needed. pack: folder to make; is_made: it is there, from this model and recipe."""

    family: Family
    recipe: Recipe
    checkpoint: Path
    is_here: bool
    download: Plan | None
    checkpoint_bytes: int
    pack: Path
    is_made: bool
    measures: bool  # compare the pack with the original
    recipe_given: str  # name or file of the recipe

    @property
    def runs_original(self) -> bool:
        """Whether the original is run, to calibrate or to compare, for which it is converted first."""
        return self.measures or self.recipe.needs_calibration

    @property
    def pack_bytes(self) -> int:
        """At most, as the recipe bounds it; without a bound as large as the checkpoint."""
        budget = self.recipe.budget
        return self.checkpoint_bytes if budget is None else min(budget.pack_mb * _MB, self.checkpoint_bytes)

    @property
    def download_bytes(self) -> int:
        return 0 if self.download is None else self.download.fetch_bytes + self.download.copy_bytes

    @property
    def download_s(self) -> float:
        return 0.0 if self.download is None else self.download.fetch_bytes / _LINE_BYTES_PER_S

    @property
    def quantize_s(self) -> float:
        return self.checkpoint_bytes / (_RUN_BYTES_PER_S if self.runs_original else _ROUNDED_BYTES_PER_S)

    @property
    def needed_bytes(self) -> int:
        """Of the disk, while it runs; what an interrupted run left counts as there."""
        if self.is_made:
            return 0
        work = self.checkpoint_bytes if self.runs_original else 0
        left = sum(_tree_bytes(self.pack.with_name(f".{self.pack.name}.{kind}")) for kind in ("reference", "partial"))
        return self.download_bytes + max(0, work + self.pack_bytes - left)

    @property
    def kept_bytes(self) -> int:
        return 0 if self.is_made else self.download_bytes + self.pack_bytes

    def lines(self) -> list[tuple[str, str]]:
        """Name of each step up to the pack, and what it will do."""
        if self.is_made:
            return [("pack", f"{self.pack} is there already")]
        return [("download", self._download_line()), ("quantize", self._quantize_line())]

    def check_disk(self) -> None:
        """Raises DownloadError if the disk has too little space for all of it."""
        needed, free = self.needed_bytes, free_bytes(self.pack)
        if needed and free < needed + _SPARE_BYTES:
            parts = [f"{_gib(self.download_bytes)} to download"] if self.download_bytes else []
            parts += [f"{_gib(self.checkpoint_bytes)} for a copy to work with"] if self.runs_original else []
            parts.append(f"{_gib(self.pack_bytes)} for the pack")
            raise DownloadError(
                f"Setup needs {_gib(needed + _SPARE_BYTES)} in {self.pack.parent.parent} ({', '.join(parts)}), but the "
                f"disk has {_gib(free)} free: make room, or set EDGETTS_HOME to a folder on another disk."
            )

    def _download_line(self) -> str:
        plan = self.download
        if plan is None and not self.is_here:
            return f"size not known, to {self.checkpoint}"
        if plan is None:
            return f"nothing: the checkpoint is in {self.checkpoint}"
        copied = f", {_gib(plan.copy_bytes)} copied from this machine" if plan.copies else ""
        others = f" and {', '.join(sorted(set(plan.elsewhere.values())))}" if plan.elsewhere else ""
        about = f", {_about(self.download_s)} at {_LINE}" if plan.fetch_bytes else ""
        return (
            f"{_gib(plan.fetch_bytes)} of {_gib(plan.total_bytes)} from {plan.hub.endpoint}{others} to "
            f"{self.checkpoint}{copied}{about}"
        )

    def _quantize_line(self) -> str:
        if not self.checkpoint_bytes:
            return f"to {self.pack}"
        why = ""
        if self.recipe.needs_calibration:
            why = ": the recipe looks at what the model does with texts"
        elif self.measures:
            why = ": the pack is compared with the original"
        return f"at most {_gib(self.pack_bytes)} in {self.pack}, {_about(self.quantize_s)}{why}"


def pack_name(family: Family, recipe: str) -> str:
    """The name of a pack that says what it is of and how it is stored."""
    return f"{family.title}-{Path(recipe).stem}".lower().replace(" ", "-")


def check_name(name: str) -> str:
    """Raises UsageError for what cannot be the name of a pack."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name[:60]!r} is not a name for a pack: use letters, digits, dots, hyphens and underscores.")
    return name


def make_plan(
    family: Family,
    recipe: Recipe,
    name: str,
    *,
    home: Path | None,
    recipe_given: str,
    source: Path | None,
    hub_caches: Sequence[Path],
    measures: bool,
) -> SetupPlan:
    """The plan as far as this machine alone tells. source: a checkpoint folder of the user. Raises UsageError."""
    pack = packs_folder(home) / name
    own = data_folder(home) / "checkpoints" / family.title
    made = _is_made(pack, family, recipe)
    found = None if made else _complete(family, [*([source] if source else []), own, *hub_caches], hub_caches)
    n_bytes = 0 if found is None else found[1]
    checkpoint = own if found is None else found[0]
    return SetupPlan(family, recipe, checkpoint, found is not None, None, n_bytes, pack, made, measures, recipe_given)


def _is_made(pack: Path, family: Family, recipe: Recipe) -> bool:
    """Whether the pack is there. Raises UsageError if another is in its place."""
    from edgetts.pack.manifest import read_manifest

    if not (pack / MANIFEST).is_file():
        return False
    try:
        manifest = read_manifest(pack)
    except PackError as error:
        reason = str(error).rstrip(".")
        raise UsageError(
            f"The pack {pack.name} cannot be used ({reason}): remove it with `edgetts packs remove {pack.name}`, or "
            "give another --name."
        ) from None
    if (manifest.family, manifest.recipe) != (family.name, recipe.name):
        raise UsageError(
            f"The pack {pack.name} is of another kind ({manifest.name}, recipe {manifest.recipe}): give another --name."
        )
    return True


def _complete(family: Family, folders: Sequence[Path], hub_caches: Sequence[Path]) -> tuple[Path, int] | None:
    """The first folder with a whole checkpoint of a family, and the bytes of its files. A folder may be a hub cache."""
    from edgetts.quant.checkpoint import CONFIG_FILE, checkpoint_folder, locate_files
    from edgetts.quant.upstream_config import published, read_upstream_config

    repository = f"models--{published(family).repository.replace('/', '--')}"
    for folder in (place for given in folders for place in (given, given / repository)):
        try:
            inner = checkpoint_folder(folder)
            upstream = read_upstream_config(inner / CONFIG_FILE)
            if upstream.family is not family:
                continue
            files = locate_files(inner, upstream, hub_caches)
        except (CheckpointError, OSError):
            continue
        return inner, sum(path.stat().st_size for path in files.values())
    return None


def _tree_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / GIB:.2f} GiB"


def _about(seconds: float) -> str:
    if seconds < _MINUTE_S:
        return "less than a minute"
    return f"about {seconds / _MINUTE_S:.0f} min"
