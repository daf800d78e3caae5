"""Copies a pack with the S2Mel of a work folder; all other files stay byte-identical.

In: a pack, and the work folder where S2Mel was trained or taken back from a GPU (`s2mel_gpu take`). Out: a new pack,
with S2Mel stored as `export` stores it. Voices stay valid: they hold features of recordings. Their level changes: run
`speech_level` on the new pack. With `--share` below 1 the new S2Mel is the weighted mean of the trained one and the
pack's.

    python -m recipes.tiny.stages.swap_s2mel --pack PACK --work WORK --out NEW [--share 0.5]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgetts.pack.load import open_pack
from recipes.tiny.stages.export import RULES
from recipes.tiny.stages.swap import mixed, swap_component
from recipes.tiny.stages.train_s2mel import final_weights

COMPONENT = "s2mel"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0, help="of the trained S2Mel; the rest is the pack's")
    args = parser.parse_args()
    pack = open_pack(args.pack)
    weights = mixed(final_weights(args.work), pack.state_dict(COMPONENT), args.share)
    print(swap_component(args.pack, args.out, COMPONENT, weights, pack.config, rules=RULES[COMPONENT]))


if __name__ == "__main__":
    main()
