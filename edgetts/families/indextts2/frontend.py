"""The text front end of IndexTTS-2: Chinese and English. The model has no language input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetts.errors import PackError
from edgetts.text.frontend import TextFrontend
from edgetts.text.glossary import Glossary
from edgetts.text.lexicon import Lexicon
from edgetts.text.normalizers import NormalizerName
from edgetts.text.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from edgetts.pack.load import Pack


def tokenizer(pack: Pack) -> TextTokenizer:
    """The pack's tokenizer. Raises PackError."""
    from edgetts.pack.text import pronouncer_of, text_config_of

    path = pack.lexicon_path
    if path is None:
        return TextTokenizer(pack.tokenizer_path, text_config_of(pack))
    pronouncer = pronouncer_of(pack)
    made = TextTokenizer(pack.tokenizer_path, text_config_of(pack), Lexicon(path, pronouncer))
    if pronouncer is not None:
        foreign = sorted(phone for phone in pronouncer.phones_used if not made.has_piece(phone))
        if foreign:
            raise PackError(
                f"The pronouncer of {pack.path} says {' '.join(foreign)}, for which the pack's tokenizer has no piece: "
                "fetch the pack again."
            )
    return made


def frontend(of: TextTokenizer, glossary: Glossary | None, normalizer: NormalizerName) -> TextFrontend:
    """The front end of a pack with this tokenizer."""
    return TextFrontend(of, glossary, normalizer)


def language_number(_language: str) -> int | None:
    """None: the model has no language input."""
    return None
