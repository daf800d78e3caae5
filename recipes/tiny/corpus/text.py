"""The pack's small tokenizer: one token per phone.

In: the alphabet below. Out: `tokenizer.json` (HF `tokenizers`, unigram, pieces of one character, a meta symbol for the
space), and the ids of texts from the runtime's front end. Phones instead of letters or word pieces: a few thousand
sentences suffice to learn phones, but not English spelling. Words missing in the lexicon are spelled with letters, so
in training some words are spelled, too (`text1`, `text2`, ...).

Id 0: start of text, 1: end of text, 2: unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgetts.pack.entries import LEXICON_FILE, PRONOUNCER_FILE, TOKENIZER_FILE
from edgetts.text.config import TextConfig
from edgetts.text.lexicon import Lexicon
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.lexicon import PHONES, STRESS, save_lexicon

if TYPE_CHECKING:
    from edgetts.text.frontend import TextFrontend

SPACE = "▁"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ',.?!-" + STRESS + PHONES
SPECIAL = ("<s>", "</s>", "<unk>")
TOKENS = (*SPECIAL, SPACE, *ALPHABET)
N_TOKENS = len(TOKENS)
LETTER_SCORE = -3.0

N_SPELLED = 2  # further readings of each text with some words spelled
SPELLED_SHARE = 0.12  # fraction of spelled words
TEXT_CONFIG = TextConfig(("en",), "upper", split_cjk=False, segments="sentences", marks=(",", ".", "?", "!"))
MAX_SEGMENT_TOKENS = 240


def save_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.decoders import Metaspace as MetaspaceDecoder
    from tokenizers.models import Unigram

    vocabulary = [(piece, 0.0) for piece in SPECIAL] + [(p, LETTER_SCORE) for p in TOKENS[len(SPECIAL) :]]
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.decoder = MetaspaceDecoder(replacement=SPACE, prepend_scheme="always")
    tokenizer.save(str(path))


class LossyLexicon(Lexicon):
    """A lexicon that randomly drops words, which are then spelled."""

    def __init__(self, path: Path, seed: int) -> None:
        super().__init__(path)
        self.generator = np.random.default_rng(seed)

    def phones(self, word: str) -> str | None:
        return None if self.generator.random() < SPELLED_SHARE else super().phones(word)


def frontend(work: Path, lexicon: Lexicon | None = None) -> TextFrontend:
    """The runtime's text front end, so that training and synthesis get the same ids.

    lexicon: default: that of `work`, with its pronouncer, if it has one, for acronyms and words that the lexicon lacks.
    """
    # Here, because a GPU machine that trains may lack the library of the tokenizer.
    from edgetts.pack.text import load_pronouncer
    from edgetts.text.frontend import TextFrontend
    from edgetts.text.tokenizer import TextTokenizer

    if lexicon is None:
        pronouncer = work / PRONOUNCER_FILE
        lexicon = Lexicon(work / LEXICON_FILE, load_pronouncer(pronouncer) if pronouncer.exists() else None)
    return TextFrontend(TextTokenizer(work / TOKENIZER_FILE, TEXT_CONFIG, lexicon), None)


def save_text_tables(work: Path) -> None:
    """Write the tokenizer, and the lexicon if it is missing."""
    save_tokenizer(work / TOKENIZER_FILE)
    if not (work / LEXICON_FILE).exists():
        save_lexicon(work / LEXICON_FILE)


def text_ids(front: TextFrontend, text: str) -> list[int]:
    """Token ids of a sentence, all segments in one."""
    return [i for segment in front.segments(text, MAX_SEGMENT_TOKENS).segments for i in segment.ids]


def add_text(work: Path, corpora: Sequence[Corpus]) -> None:
    """Add `text` (Tt,), the token ids of every recording's text, and `text1` ..., with some words spelled."""
    save_text_tables(work)
    for corpus in corpora:
        for reading in range(1 + N_SPELLED):
            if not corpus.has(reading_of("text", reading)):
                front = frontend(work, LossyLexicon(work / LEXICON_FILE, reading) if reading else None)
                ids = [np.array(text_ids(front, it["text"]), np.int16) for it in corpus.items]
                corpus.put(reading_of("text", reading), ids)


def reading_of(kind: str, reading: int) -> str:
    """Name of the array `kind` for one of the readings of a text; 0 is the usual one."""
    return f"{kind}{reading}" if reading else kind
