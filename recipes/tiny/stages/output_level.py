"""Stage `output_level`: scales the output of the iSTFT vocoder.

S2Mel with guidance predicts mels about 5 dB louder than its training recordings, and one sentence in ten clipped. The
gains of the vocoder's sources share one bias, in nepers, so adding a constant to it scales the waveform exactly.
`export` adds `OUTPUT_DB`. For an existing pack:

    python -m recipes.tiny.stages.output_level --pack PACK --db -4
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetts.errors import PackError
from edgetts.pack.load import open_pack
from edgetts.pack.manifest import FORMAT
from recipes.tiny.stages.pack_files import put_files

OUTPUT_DB = -4.0
BIAS = "envelope.bias"
NEPERS_PER_DB = math.log(10) / 20


def scaled(tensors: Mapping[str, Any], db: float) -> dict[str, Any]:
    """Tensors of an iSTFT vocoder with its output raised by `db` decibels. Raises PackError for other vocoders."""
    if BIAS not in tensors:
        raise PackError("This vocoder has no common gain. Only `istft` vocoders have one.")
    return {**tensors, BIAS: tensors[BIAS] + db * NEPERS_PER_DB}


def scale_pack(pack: Path, db: float) -> None:
    """Scale the output of an existing pack. Raises PackError."""
    from safetensors.torch import load, save

    name = open_pack(pack).manifest.components["vocoder"].file
    tensors = load((pack / name).read_bytes())
    put_files(pack, {name: save(scaled(tensors, db), metadata={"format": FORMAT})})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--db", type=float, default=OUTPUT_DB)
    args = parser.parse_args()
    scale_pack(args.pack, args.db)


if __name__ == "__main__":
    main()
