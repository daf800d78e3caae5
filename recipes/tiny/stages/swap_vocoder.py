"""Copies a pack with another vocoder; all other files stay byte-identical, including voices.

In: a pack, and an iSTFT vocoder or the work folder where one was trained. Out: a new pack. Voices stay valid, because
they do not depend on the vocoder.

    python -m recipes.tiny.stages.swap_vocoder --pack PACK --work WORK --out NEW [--int8]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from edgetts.errors import UsageError
from edgetts.models.istft_vocoder import IstftVocoder
from edgetts.pack.load import open_pack
from edgetts.quant.schemes import SchemeRule
from recipes.tiny.stages.swap import swap_component

COMPONENT = "vocoder"
# The large matrices; the pitch network stays in half precision.
INT8_RULES = tuple(SchemeRule(name, "int8_channel") for name in ("stack.convnext.*.pwconv?.weight", "head.weight"))


def swap_vocoder(
    source: Path, target: Path, vocoder: IstftVocoder, *, dtype: str = "float16", rules: Sequence[SchemeRule] = ()
) -> Path:
    """Write a copy of the pack `source` with this vocoder to `target`.

    Raises UsageError if `target` exists, or if the vocoder does not fit the mels of the pack.
    """
    model = dataclasses.replace(open_pack(source).manifest.model, vocoder=vocoder.config)
    audio = model.audio
    if (vocoder.config.n_mels, vocoder.config.hop_length) != (audio.n_mels, audio.hop_length):
        raise UsageError(
            f"The vocoder takes {vocoder.config.n_mels} mel bands every {vocoder.config.hop_length} samples, but the "
            f"pack {source} makes {audio.n_mels} every {audio.hop_length}: train a vocoder for this pack."
        )
    return swap_component(source, target, COMPONENT, vocoder.state_dict(), model, dtype=dtype, rules=rules)


def main() -> None:
    from recipes.tiny.stages.train_vocoder_istft import with_pitch_net

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--int8", action="store_true", help="large matrices in 8 bits per output channel")
    args = parser.parse_args()
    rules = INT8_RULES if args.int8 else ()
    print(swap_vocoder(args.pack, args.out, with_pitch_net(args.work), rules=rules))


if __name__ == "__main__":
    main()
