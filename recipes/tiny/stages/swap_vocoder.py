"""Copies a pack with another vocoder; all other files stay byte-identical, including voices.

In: a pack, and an iSTFT vocoder or the work folder where one was trained. Out: a new pack. Voices stay valid, because
they do not depend on the vocoder.

    python -m recipes.tiny.stages.swap_vocoder --pack PACK --work WORK --out NEW [--int8]
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from edgetts.errors import UsageError
from edgetts.models.istft_vocoder import IstftVocoder
from edgetts.pack.entries import MANIFEST_FILE
from edgetts.pack.load import open_pack
from edgetts.pack.manifest import manifest_json
from edgetts.quant.components import component_problems
from edgetts.quant.lazy import LazyTensor
from edgetts.quant.schemes import SchemeRule
from edgetts.quant.tensor_file import TensorFilePlan

COMPONENT = "vocoder"
# The large matrices; the pitch network stays in half precision.
INT8_RULES = tuple(SchemeRule(name, "int8_channel") for name in ("stack.convnext.*.pwconv?.weight", "head.weight"))


def swap_vocoder(
    source: Path, target: Path, vocoder: IstftVocoder, *, dtype: str = "float16", rules: Sequence[SchemeRule] = ()
) -> Path:
    """Write a copy of the pack `source` with this vocoder to `target`.

    Raises UsageError if `target` exists, or if the vocoder does not fit the mels of the pack.
    """
    manifest = open_pack(source).manifest
    if target.exists():
        raise UsageError(f"{target} exists already: give another name.")
    model = dataclasses.replace(manifest.model, vocoder=vocoder.config)
    audio = model.audio
    if (vocoder.config.n_mels, vocoder.config.hop_length) != (audio.n_mels, audio.hop_length):
        raise UsageError(
            f"The vocoder takes {vocoder.config.n_mels} mel bands every {vocoder.config.hop_length} samples, but the "
            f"pack {source} makes {audio.n_mels} every {audio.hop_length}: train a vocoder for this pack."
        )
    tensors = {name: LazyTensor.of(value.detach().cpu()) for name, value in vocoder.state_dict().items()}
    problems = component_problems(COMPONENT, {name: t.shape for name, t in tensors.items()}, model)
    assert not problems, problems
    shutil.copytree(source, target)
    plan = TensorFilePlan(COMPONENT, tensors, dtype, rules)
    path = target / manifest.components[COMPONENT].file
    path.unlink()
    with path.open("wb") as file:
        written = plan.write(file, digests=False)
    changed = dataclasses.replace(
        manifest,
        model=model,
        components={**manifest.components, COMPONENT: plan.entry(path.name)},
        files={**manifest.files, path.name: written.file},
    )
    (target / MANIFEST_FILE).write_text(manifest_json(changed), encoding="utf-8")
    open_pack(target)
    return target


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
