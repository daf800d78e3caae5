"""A model pack as the source of another pack.

In: the folder of a pack, unquantized or partly quantized. Out: a `Source` whose tensors are read from the mapped files
when they are written. Files that are not components (tokenizer, glossary, ready voices, notes) are copied.
"""

from __future__ import annotations

from pathlib import Path

import torch

from edgetts.pack.load import Pack, open_pack
from edgetts.pack.page_release import give_back
from edgetts.pack.schemes import Quantized
from edgetts.quant.build import Source
from edgetts.quant.lazy import LazyTensor
from edgetts.quant.writer import PackWriter

REPORT_FILE = "report.html"  # describes this pack only: not copied


def open_pack_source(folder: Path, home: Path | None = None) -> Source:
    """Everything in a pack. home: as of `open_pack`. Raises PackError."""
    pack = open_pack(folder, home=home)
    manifest = pack.manifest
    of_components = {entry.file for entry in manifest.components.values()}
    others = [name for name in manifest.files if name not in (*of_components, REPORT_FILE)]

    def add_files(writer: PackWriter) -> None:
        for name in others:
            writer.add_file(name, pack.file(name))

    return Source(
        config=manifest.model,
        name=manifest.name,
        license=manifest.license,
        text=manifest.text,
        components={component: _lazy(pack, component) for component in manifest.components},
        identity={"sha256": {name: entry.sha256 for name, entry in manifest.files.items()}},
        add_files=add_files,
        description=manifest.description,
        defaults=manifest.defaults,
        encoder_id=manifest.encoder_id,
        without=manifest.without,
        schemes={c: entry.scheme_of() for c, entry in manifest.components.items() if entry.schemes},
    )


def _lazy(pack: Pack, component: str) -> dict[str, LazyTensor]:
    return {
        name: _decoded(tensor) if isinstance(tensor, Quantized) else LazyTensor.of_file(tensor)
        for name, tensor in pack.stored(component).items()
    }


def _decoded(tensor: Quantized) -> LazyTensor:
    return LazyTensor(tensor.shape, torch.float32, tensor.decode, lambda: give_back(*tensor.parts.values()), tensor)
