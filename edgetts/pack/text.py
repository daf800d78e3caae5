"""The text tables of a pack: its tokenizer, with the lexicon and in the case that its model was trained on.

In: an open pack. Out: the `TextTokenizer` that every part of the runtime and of the offline pass reads text with.
"""

from __future__ import annotations

from edgetts.errors import PackError, UsageError
from edgetts.pack.config import from_dict
from edgetts.pack.load import Pack
from edgetts.text.config import TextConfig
from edgetts.text.lexicon import Lexicon
from edgetts.text.tokenizer import TextTokenizer


def text_config_of(pack: Pack) -> TextConfig:
    """The manifest's text table. Raises PackError for one that is not usable."""
    what = f"The text table of {pack.path}"
    try:
        return from_dict(TextConfig, dict(pack.manifest.text), what=what)
    except UsageError as error:  # the same words of a caller's own table are misuse
        raise PackError(f"{what} is not usable: {error}") from None


def tokenizer_of(pack: Pack) -> TextTokenizer:
    """Raises PackError for a table or file that is not usable."""
    path = pack.lexicon_path
    return TextTokenizer(pack.tokenizer_path, text_config_of(pack), Lexicon(path) if path is not None else None)
