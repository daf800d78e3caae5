"""The text front end of IndexTTS-2: Chinese and English. The model has no language input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetts.text.frontend import TextFrontend
from edgetts.text.glossary import Glossary
from edgetts.text.lexicon import Lexicon
from edgetts.text.normalizers import NormalizerName
from edgetts.text.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from edgetts.pack.load import Pack


def tokenizer(pack: Pack) -> TextTokenizer:
    """The pack's tokenizer. Raises PackError."""
    from edgetts.pack.text import text_config_of

    path = pack.lexicon_path
    return TextTokenizer(pack.tokenizer_path, text_config_of(pack), Lexicon(path) if path is not None else None)


def frontend(of: TextTokenizer, glossary: Glossary | None, normalizer: NormalizerName) -> TextFrontend:
    """The front end of a pack with this tokenizer."""
    return TextFrontend(of, glossary, normalizer)


def language_number(_language: str) -> int | None:
    """None: the model has no language input."""
    return None
