"""The tokenizer and the text front end of a pack, as its family has them.

In: an open pack. Out: the `TextTokenizer` and `TextFrontend` of the runtime and of the offline pass.
"""

from __future__ import annotations

from pathlib import Path

from edgetts.errors import PackError, UsageError
from edgetts.families import family_of
from edgetts.pack.entries import PRONOUNCER_FILE
from edgetts.pack.header import METADATA, tensor_header
from edgetts.pack.load import Pack
from edgetts.pack.manifest import FORMAT
from edgetts.pack.strict import from_dict
from edgetts.text.config import TextConfig
from edgetts.text.frontend import TextFrontend
from edgetts.text.glossary import Glossary
from edgetts.text.normalizers import DEFAULT_NORMALIZER, NormalizerName
from edgetts.text.pronouncer import Pronouncer
from edgetts.text.tokenizer import TextTokenizer

MAX_PRONOUNCER_BYTES = 4 << 20


def text_config_of(pack: Pack) -> TextConfig:
    """The manifest's text table. Raises PackError if it is not usable."""
    what = f"The text table of {pack.path}"
    try:
        return from_dict(TextConfig, dict(pack.manifest.text), what=what)
    except UsageError as error:  # in a caller's own table the same fault is misuse
        raise PackError(f"{what} is not usable: {error}") from None


def pronouncer_of(pack: Pack) -> Pronouncer | None:
    """The pack's model of spelling; None if it has none. Raises PackError if the file is not usable."""
    return load_pronouncer(pack.file(PRONOUNCER_FILE)) if PRONOUNCER_FILE in pack.manifest.files else None


def load_pronouncer(path: Path) -> Pronouncer:
    """The model of spelling in a file. Raises PackError if it is not usable."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    size = path.stat().st_size
    if size > MAX_PRONOUNCER_BYTES:
        advice = f"at most {MAX_PRONOUNCER_BYTES} are allowed: fetch the pack again"
        raise PackError(f"The pronouncer {path} has {size} bytes; {advice}.")
    metadata = tensor_header(path).get(METADATA, {})
    if metadata.get("format") != FORMAT:
        raise PackError(f"{path} is a tensor file of another program: fetch the pack again.")
    try:
        tables = load(path.read_bytes())
    except (SafetensorError, ValueError, KeyError) as error:
        raise PackError(f"{path} is not a valid tensor file ({error}): fetch the pack again.") from error
    return Pronouncer(tables, metadata, str(path))


def tokenizer_of(pack: Pack) -> TextTokenizer:
    """The pack's tokenizer. Raises PackError if a table or file is not usable."""
    tokenizer: TextTokenizer = family_of(pack.config).part("frontend").tokenizer(pack)
    return tokenizer


def frontend_of(
    pack: Pack,
    glossary: Glossary | None = None,
    normalizer: NormalizerName = DEFAULT_NORMALIZER,
    tokenizer: TextTokenizer | None = None,
) -> TextFrontend:
    """The front end of the pack's family. tokenizer: of the pack, if it was read already. Raises PackError."""
    of = tokenizer if tokenizer is not None else tokenizer_of(pack)
    frontend: TextFrontend = family_of(pack.config).part("frontend").frontend(of, glossary, normalizer)
    return frontend
