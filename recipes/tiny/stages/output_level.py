"""Stage `output_level`: how loud the iSTFT vocoder renders a mel.

S2Mel with guidance makes mels about 5 dB louder than its recordings, and every tenth sentence was cut off at full
scale. The gains of the vocoder's sources share one bias, in nepers, so a constant on it scales the waveform exactly.
`export` lowers it by `OUTPUT_DB`; for a pack that is written already:

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
    """The tensors of an iSTFT vocoder whose output is `db` louder. Raises PackError for other vocoders."""
    if BIAS not in tensors:
        raise PackError("This vocoder has no common gain: only `istft` ones have.")
    return {**tensors, BIAS: tensors[BIAS] + db * NEPERS_PER_DB}


def scale_pack(pack: Path, db: float) -> None:
    """Scale the output of a written pack. Raises PackError."""
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
