"""Initializes all training stages from the weights of a pack.

In: a pack with the dimensions in `dims`, usually the shipped one. Out: `WORK/STAGE/start.pt` of each stage,
`WORK/stats.pt`, and the pronouncer as it is. A pack lacks the recognizer, codec decoder, discriminators and optimizer
states. They start from scratch, so the stages that need them (`semantic_encoder`, `joint`) must run again before the
codes are used.

    python -m recipes.tiny.stages.init_from_pack --work WORK [--pack PACK]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from edgetts.pack.config import VOCODER_KINDS
from edgetts.pack.entries import PRONOUNCER_FILE
from edgetts.pack.load import Pack, open_pack
from edgetts.pack.locate import locate_pack

# Stage -> its modules -> the pack components that initialize each module.
MODULES: dict[str, dict[str, tuple[str, ...]]] = {
    "semantic_encoder": {"encoder": ("semantic_encoder",)},
    "codec": {"codec": ("codec_encoder", "quantizer")},
    "speaker_encoder": {"encoder": ("speaker_encoder",)},
    "gpt": {
        "gpt": ("gpt",),
        "average_gpt": ("gpt",),
        "conditioning": ("conditioning",),
        "average_conditioning": ("conditioning",),
    },
    "s2mel": {"s2mel": ("s2mel",), "average": ("s2mel",)},
}
# The same for the vocoder, by kind.
VOCODER_MODULES: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "bigvgan": {"vocoder": {"vocoder": ("vocoder",), "average": ("vocoder",)}},
    "istft": {
        "pitch": {"pitch": ("vocoder/pitch_net.",), "average": ("vocoder/pitch_net.",)},
        "vocoder_istft": {"vocoder": ("vocoder",), "average": ("vocoder",)},
    },
}


def weights(pack: Pack, component: str) -> dict[str, torch.Tensor]:
    """Tensors of a component; `component/prefix` selects those with the prefix."""
    name, _, prefix = component.partition("/")
    return pack.state_dict(name, prefix=prefix)


def start_from(pack: Pack, work: Path) -> None:
    """Write the start weights of all stages, and the statistics of the semantic features."""
    kind = next(kind for kind, config in VOCODER_KINDS.items() if isinstance(pack.config.vocoder, config))
    for stage, modules in (MODULES | VOCODER_MODULES[kind]).items():
        folder = work / stage
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            module: {k: v for component in components for k, v in weights(pack, component).items()}
            for module, components in modules.items()
        }
        torch.save(state, folder / "start.pt")
    statistics = weights(pack, "semantic_statistics")
    torch.save({"mean": statistics["mean"], "std": statistics["std"]}, work / "stats.pt")
    if PRONOUNCER_FILE in pack.manifest.files:
        (work / PRONOUNCER_FILE).write_bytes(pack.file(PRONOUNCER_FILE).read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pack", default=None, help="pack folder or name (default: as `edgetts say` finds it)")
    args = parser.parse_args()
    start_from(open_pack(locate_pack(args.pack).path), args.work)


if __name__ == "__main__":
    main()
