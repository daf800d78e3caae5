"""The text front end of IndexTTS-2.5: five languages, of which the model is told the one of each segment."""

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
    """The model's number of a language."""
    return language_id(language)
