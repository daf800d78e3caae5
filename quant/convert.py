"""From a published checkpoint to a model pack.

In: the folder that upstream's downloader fills, with the auxiliary models. Out: a pack folder. First every
file is found and every tensor's name and shape is compared with the networks, all components together, so
that one message lists everything wrong; then `build` writes component after component. Knows where tensors go;
how they change is in `folding`, how they are stored in `tensor_file`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from edgetts.errors import CheckpointError, UsageError
from edgetts.families.published import Published
from edgetts.models.registry import networks_of
from edgetts.pack.config import ModelConfig
from edgetts.pack.entries import GLOSSARY_FILE, TOKENIZER_FILE
from edgetts.pack.plain_json import listed, shown
from edgetts.pack.strict import to_dict
from edgetts.progress import CountedProgress
from edgetts.quant import checkpoint, weights
from edgetts.quant.build import ALWAYS_FP32, Source, Storage, Tensors, build_pack
from edgetts.quant.components import component_problems, enrollment_notice, network_tensors
from edgetts.quant.folding import fold_weight_norm, is_transposed, transpose_conv1d
from edgetts.quant.lazy import LazyTensor
from edgetts.quant.target import check_target
from edgetts.quant.tiktoken_convert import read_tiktoken
from edgetts.quant.tokenizer_convert import read_tokenizer
from edgetts.quant.upstream_config import UpstreamConfig, model_config, read_upstream_config
from edgetts.quant.writer import PackWriter

DTYPES = {"fp32": "float32", "fp16": "float16"}

# By the format of the vocabulary.
TOKENIZERS: Mapping[str, Callable[[Path], Tokenizer]] = {"sentencepiece": read_tokenizer, "tiktoken": read_tiktoken}

LICENSE = (
    "Made from the published {title} checkpoint and the auxiliary models it uses. Converted weights are "
    "derivatives: they stay under the licenses of the originals (for {title} the bilibili model use license) "
    "and must not be passed on except as those allow."
)

_W2V_BERT_LAYER = re.compile(r"encoder\.layers\.(\d+)\..*")


@dataclass(frozen=True)
class Conversion:
    """The result. `left_out`: unneeded tensors of the checkpoint, by source."""

    path: Path
    n_bytes: int
    seconds: float
    reused: tuple[str, ...]  # components from an interrupted run
    left_out: Mapping[str, tuple[str, ...]] = field(repr=False)
    notice: str | None = None  # what the pack cannot do


def convert(
    checkpoint_dir: str | Path,
    pack_dir: str | Path,
    dtype: str = "fp32",
    *,
    force: bool = False,
    hub_caches: Sequence[Path] = (),
    name: str | None = None,
    progress: CountedProgress | None = None,
) -> Conversion:
    """Convert a checkpoint. dtype: "fp32" or "fp16" (matrices in half precision, vectors stay float32).

    force: replace a pack that is at `pack_dir`. hub_caches: Hugging Face cache folders to look for the
    auxiliary models in, after the checkpoint's own. name: of the pack; None: the family's. Raises CheckpointError for
    anything wrong with the checkpoint, UsageError for a target in the way, PackError when writing fails.
    """
    if dtype not in DTYPES:
        raise UsageError(f"Unknown dtype {dtype!r}: use one of {', '.join(DTYPES)}.")
    target = check_target(pack_dir, force=force, source=checkpoint_dir)
    source = open_checkpoint(checkpoint_dir, hub_caches, name=name)
    stored = {c: Storage(DTYPES[dtype] if c not in ALWAYS_FP32 else "float32") for c in source.components}
    built = build_pack(source, target, stored, recipe=f"reference-{dtype}", force=force, progress=progress)
    notice = enrollment_notice(source.config)
    return Conversion(target, built.n_bytes, built.seconds, built.reused, source.left_out, notice)


def open_checkpoint(checkpoint_dir: str | Path, hub_caches: Sequence[Path] = (), *, name: str | None = None) -> Source:
    """A published checkpoint with all files found and all tensor names and shapes checked, values unread.

    hub_caches: as of `convert`. Raises CheckpointError.
    """
    folder = checkpoint.checkpoint_folder(Path(checkpoint_dir))
    checkpoint.check_contents(folder, checkpoint.present(folder, hub_caches))
    upstream = read_upstream_config(folder / checkpoint.CONFIG_FILE)
    files = checkpoint.locate_files(folder, upstream, hub_caches)
    glossary = checkpoint.glossary_of(folder)
    config = model_config(upstream, files["w2vbert_config"], files["bigvgan_config"])
    components, left_out = _assign(_open_sources(files, upstream.published), upstream, config)

    def add_files(writer: PackWriter) -> None:
        _add_tokenizer(writer, files["tokenizer"], upstream.published.tokenizer, config)
        if glossary is not None:
            writer.add_file(GLOSSARY_FILE, glossary)

    return Source(
        config=config,
        name=name or upstream.family.title,
        license=LICENSE.format(title=upstream.family.title),
        text=to_dict(upstream.published.text),
        components=components,
        identity={"files": file_identities(files)},
        add_files=add_files,
        left_out=left_out,
    )


def file_identities(files: Mapping[str, Path]) -> dict[str, list[Any]]:
    """Plain values that change when a file is replaced or modified."""
    stats = {key: path.resolve().stat() for key, path in files.items()}
    return {k: [str(files[k].resolve()), s.st_size, s.st_mtime_ns, s.st_ino] for k, s in stats.items()}


def _open_sources(files: Mapping[str, Path], published: Published) -> dict[str, Tensors]:
    """Tensors of every published file as our networks name and shape them, values unread."""
    keys = dict.fromkeys(published.sources.values())
    sources = {key: weights.open_tensors(files[key], published.wrappers.get(key, ())) for key in keys}
    sources = {key: fold_weight_norm(tensors) for key, tensors in sources.items()}
    sources["gpt"] = transpose_conv1d(sources["gpt"])
    matrices: Tensors = {}
    for key in ("speaker_matrix", "emotion_matrix"):
        matrices[key] = _single(weights.open_tensors(files[key]), files[key])
    sources["matrices"] = matrices
    sources["statistics"] = _statistics(weights.open_tensors(files["statistics"]))
    return sources


def _assign(
    sources: Mapping[str, Tensors], upstream: UpstreamConfig, config: ModelConfig
) -> tuple[dict[str, Tensors], dict[str, tuple[str, ...]]]:
    """Tensors of each component, and those left out. Raises CheckpointError listing all problems."""
    problems: list[str] = []
    components: dict[str, Tensors] = {}
    left_out: dict[str, tuple[str, ...]] = {}
    source_of = upstream.published.sources
    for source in dict.fromkeys(source_of.values()):
        tensors = sources[source]
        wanted: dict[str, dict[str, tuple[int, ...]]] = {}
        whole: set[str] = set()  # integer tensors
        for name in (name for name, key in source_of.items() if key == source):
            try:
                blank = network_tensors(name, config)
            except (ArithmeticError, ValueError, RuntimeError, AssertionError, TypeError, IndexError) as error:
                raise CheckpointError(
                    f"The configuration of this checkpoint gives dimensions that {name} cannot have "
                    f"({shown(' '.join(str(error).split()))}): download it again."
                ) from error
            wanted[name] = {key: tuple(tensor.shape) for key, tensor in blank.items()}
            whole.update(key for key, tensor in blank.items() if not tensor.is_floating_point())
        for name, shapes in wanted.items():
            components[name] = {key: _scalar(tensors[key], shapes[key]) for key in shapes if key in tensors}
            problems += [f"{source}: missing {key}" for key in shapes if key not in tensors]
            problems += [
                f"{source}: {key} has shape {_published(key, tensor.shape)} instead of {_published(key, shapes[key])}"
                for key, tensor in components[name].items()
                if tensor.shape != shapes[key]
            ]
            problems += [
                f"{source}: {key} is of type {tensor.dtype} instead of {'whole numbers' if key in whole else 'floats'}"
                for key, tensor in components[name].items()
                if tensor.dtype.is_floating_point == (key in whole)
            ]
        others = [key for key in tensors if not any(key in shapes for shapes in wanted.values())]
        extras = tuple(extra for name in wanted for extra in networks_of(config)[name].extras)
        unused = {key for key in others if _is_unused(key, extras, config)}
        problems += [f"{source}: unexpected {key}" for key in others if key not in unused]
        left_out[source] = tuple(sorted(unused))
    for name, source in (("semantic_statistics", "statistics"), ("emotion", "matrices")):
        components[name] = dict(sources[source])
        found = {key: tensor.shape for key, tensor in components[name].items()}
        problems += [f"{name}: {problem}" for problem in component_problems(name, found, config)]
        problems += [
            f"{name}: {key} is of type {tensor.dtype} instead of floats"
            for key, tensor in components[name].items()
            if not tensor.dtype.is_floating_point
        ]
    if problems:
        raise CheckpointError(
            f"The tensors of this checkpoint are not those of {upstream.family.title} ({len(problems)} differences): "
            f"{listed(problems)}. Download it again, or see whether its files belong together."
        )
    return components, left_out


def _scalar(tensor: LazyTensor, shape: tuple[int, ...]) -> LazyTensor:
    """A counter that old torch versions stored with shape (1,), as a scalar."""
    if shape or tensor.shape != (1,):
        return tensor
    return LazyTensor.made_from(tensor, shape=(), dtype=tensor.dtype, by=lambda value: value.reshape(()))


def _is_unused(name: str, extras: Sequence[str], config: ModelConfig) -> bool:
    layer = _W2V_BERT_LAYER.fullmatch(name)
    if layer is not None and int(layer[1]) >= config.semantic_encoder.n_layers:
        return True  # layers above the used one
    return any(fnmatchcase(name, extra) for extra in extras)


def _published(name: str, shape: tuple[int, ...]) -> list[int]:
    """The shape in the published file, for messages."""
    return list(shape[::-1] if is_transposed(name) else shape)


def _single(tensors: Tensors, path: Path) -> LazyTensor:
    if len(tensors) != 1:
        raise CheckpointError(f"{path} should hold one matrix, but holds {', '.join(tensors)}: download it again.")
    return next(iter(tensors.values()))


def _statistics(tensors: Tensors) -> Tensors:
    """Mean and standard deviation of the semantic features; the published file has the variance."""
    renamed = dict(tensors)
    variance = renamed.pop("var", None)
    if variance is not None:
        renamed["std"] = LazyTensor.made_from(
            variance, shape=variance.shape, dtype=torch.float32, by=lambda value: value.to(torch.float32).sqrt()
        )
    return renamed


def _add_tokenizer(writer: PackWriter, model_path: Path, kind: str, config: ModelConfig) -> None:
    tokenizer = TOKENIZERS[kind](model_path)
    size = tokenizer.get_vocab_size()
    if size > config.gpt.n_text_tokens:
        raise CheckpointError(
            f"{model_path} has {size} pieces, but the GPT knows {config.gpt.n_text_tokens}: the files do not belong "
            "together; download the checkpoint again."
        )
    writer.add_file(TOKENIZER_FILE, tokenizer.to_str().encode())
