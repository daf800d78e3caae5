"""The text front end of IndexTTS-2.5: five languages. The language of each segment is an input of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetts.text.glossary import Glossary
from edgetts.text.multilingual.frontend import MultilingualFrontend
from edgetts.text.multilingual.languages import language_id
from edgetts.text.multilingual.tokenizer import BytePairTokenizer
from edgetts.text.normalizers import NormalizerName

if TYPE_CHECKING:
    from edgetts.pack.load import Pack


def tokenizer(pack: Pack) -> BytePairTokenizer:
    """The pack's tokenizer. Raises PackError."""
    return BytePairTokenizer(pack.tokenizer_path)


def frontend(of: BytePairTokenizer, glossary: Glossary | None, normalizer: NormalizerName) -> MultilingualFrontend:
    """The front end of a pack with this tokenizer."""
    return MultilingualFrontend(of, glossary, normalizer)


def language_number(language: str) -> int | None:
    """The row of a language in the model's language embedding."""
    return language_id(language)
