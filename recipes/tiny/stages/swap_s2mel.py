"""Copies a pack with the S2Mel of a work folder; all other files stay byte-identical.

In: a pack, and the work folder where S2Mel was trained or taken back from a GPU (`s2mel_gpu take`). Out: a new pack,
with S2Mel stored as `export` stores it. Voices stay valid: they hold features of recordings. Their level changes: run
`speech_level` on the new pack.

    python -m recipes.tiny.stages.swap_s2mel --pack PACK --work WORK --out NEW
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgetts.pack.load import open_pack
from recipes.tiny.stages.export import RULES
from recipes.tiny.stages.swap import swap_component
from recipes.tiny.stages.train_s2mel import final_weights

COMPONENT = "s2mel"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model, rules = open_pack(args.pack).config, RULES[COMPONENT]
    print(swap_component(args.pack, args.out, COMPONENT, final_weights(args.work), model, rules=rules))


if __name__ == "__main__":
    main()
