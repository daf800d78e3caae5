"""The tokenizer and the text front end of a pack, as its family has them.

In: an open pack. Out: the `TextTokenizer` and `TextFrontend` of the runtime and of the offline pass.
"""

from __future__ import annotations

from edgetts.errors import PackError, UsageError
from edgetts.families import family_of
from edgetts.pack.load import Pack
from edgetts.pack.strict import from_dict
from edgetts.text.config import TextConfig
from edgetts.text.frontend import TextFrontend
from edgetts.text.glossary import Glossary
from edgetts.text.normalizers import DEFAULT_NORMALIZER, NormalizerName
from edgetts.text.tokenizer import TextTokenizer


def text_config_of(pack: Pack) -> TextConfig:
    """The manifest's text table. Raises PackError if it is not usable."""
    what = f"The text table of {pack.path}"
    try:
        return from_dict(TextConfig, dict(pack.manifest.text), what=what)
    except UsageError as error:  # in a caller's own table the same fault is misuse
        raise PackError(f"{what} is not usable: {error}") from None


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
