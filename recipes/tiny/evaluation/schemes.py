"""Compares quantization schemes and methods on the tiny model: size, KL divergence, sound, optionally words and voice.

In: the tiny pack in float32 (`python -m recipes.tiny.stages.export --float32`). Out: a Markdown table, and all metrics
as JSON. Rows differ only in the GPT. The int4 and NF4 rows keep embeddings and head in int8, as the recipes do.

    python -m recipes.tiny.evaluation.schemes --pack PACK --work DIR [--voices DIR] [--limit 40] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.quant.build import ALWAYS_FP32
from edgetts.quant.quantize import quantize

SMALL = """  { pattern = "*embedding*.weight", scheme = "int8_channel" },
  { pattern = "mel_head.weight", scheme = "int8_channel" },
"""
CALIBRATION = """
[calibration]
n_texts = 8
max_codes = 120
seed = 1
damping = 0.01
activation_order = %s
"""
GROUPS = (32, 64, 128)


def gpt_rule(scheme: str, group: int | None = None, method: str = "rtn") -> str:
    """A TOML rule for the linear layers of the GPT."""
    size = "" if group is None else f", group_size = {group}"
    return f'  {{ pattern = "gpt.h.*.weight", scheme = "{scheme}"{size}, method = "{method}" }},\n'


def schemes() -> dict[str, str]:
    """The TOML of the GPT's component for each row, by name."""
    table = {
        "fp16": 'dtype = "float16"\n',
        "bf16": 'dtype = "bfloat16"\n',
        "int8": f'dtype = "float16"\nrules = [\n{gpt_rule("int8_channel")}{SMALL}]\n',
        "nf4-64": f'dtype = "float16"\nrules = [\n{gpt_rule("nf4_group", 64)}{SMALL}]\n',
    }
    for method in ("rtn", "hqq", "gptq"):
        for group in GROUPS:
            rules = f'dtype = "float16"\nrules = [\n{gpt_rule("int4_group", group, method)}{SMALL}]\n'
            table[f"int4-{group}-{method}"] = rules + (CALIBRATION % "true" if method == "gptq" else "")
    rules = f'dtype = "float16"\nrules = [\n{gpt_rule("int4_group", GROUPS[0], "gptq")}{SMALL}]\n'
    table[f"int4-{GROUPS[0]}-gptq, no order"] = rules + CALIBRATION % "false"
    return table


def recipe(name: str, gpt: str) -> str:
    """A recipe with this table for the GPT and all other components in float32."""
    others = [c for c in INDEXTTS_2.components if c not in (*ALWAYS_FP32, "gpt")]
    parts = [f'format = 1\nname = "{name}"\ndescription = "Comparison of schemes"\n\n[components.gpt]\n{gpt}']
    return "\n".join([*parts, *(f'[components.{c}]\ndtype = "float32"\n' for c in others)])


def judged(pack: Path, voices: Path, limit: int) -> dict[str, Any]:
    """Word error rate, similarity and real-time factor, averaged over the groups of voices of `evaluate`."""
    from edgetts import TTS
    from recipes.tiny.evaluation.evaluate import SENTENCES, evaluate, recordings_in

    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()[:limit]
    result = evaluate(TTS.load(pack, device="cpu"), sentences, recordings_in(voices), None, {})
    groups = [result[g] for g in ("heard", "unheard") if g in result]
    return {k: sum(g[k] for g in groups) / len(groups) for k in ("word_error_rate", "similarity", "rtf")}


def row(name: str, figures: dict[str, Any]) -> str:
    gpt, sound, judge = figures["gpt"], figures["sound"], figures.get("judged", {})
    words = f"{100 * judge['word_error_rate']:.1f} %" if judge else ""
    voice = f"{judge['similarity']:.3f}" if judge else ""
    size = figures["sizes"]["gpt"]["after"] / 1e6
    return (
        f"| {name} | {size:.2f} MB | {gpt['kl_mean']:.2e} | {100 * gpt['top1']:.1f} % | "
        f"{sound['waveform_mel_distance']:.3f} | {words} | {voice} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True, help="the tiny pack in float32")
    parser.add_argument("--work", type=Path, required=True, help="folder for packs and figures")
    parser.add_argument("--voices", type=Path, help="recordings, to evaluate words and voice")
    parser.add_argument("--limit", type=int, default=40, help="sentences to evaluate")
    parser.add_argument("--only", nargs="*", help="names of rows")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    print("| GPT | size | KL | top-1 | log-mel | WER | similarity |\n|---|---|---|---|---|---|---|")
    judge = None if args.voices is None else lambda pack: judged(pack, args.voices, args.limit)
    if judge is not None and not args.only:
        plain = judge(args.pack)
        print(f"| fp32 | | 0 | 100 % | 0 | {100 * plain['word_error_rate']:.1f} % | {plain['similarity']:.3f} |")
    for name, gpt in schemes().items():
        if args.only and name not in args.only:
            continue
        plan, target = args.work / f"{name}.toml", args.work / f"{name}.pack"
        plan.write_text(recipe(name, gpt))
        made = quantize(args.pack, target, str(plan), force=True, judge=judge)
        assert made.quality is not None
        figures = dict(made.quality)
        (args.work / f"{name}.json").write_text(json.dumps(figures, indent=1))
        print(row(name, figures), flush=True)


if __name__ == "__main__":
    main()
