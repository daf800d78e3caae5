"""The tokenizer of a pack, with its lexicon and letter case.

In: an open pack. Out: the `TextTokenizer` of the runtime and of the offline pass.
"""

from __future__ import annotations

from edgetts.errors import PackError, UsageError
from edgetts.pack.load import Pack
from edgetts.pack.strict import from_dict
from edgetts.text.config import TextConfig
from edgetts.text.lexicon import Lexicon
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
    path = pack.lexicon_path
    return TextTokenizer(pack.tokenizer_path, text_config_of(pack), Lexicon(path) if path is not None else None)
