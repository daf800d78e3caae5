"""The pack's small tokenizer: one token a letter, in the form that the runtime reads.

In: nothing but the alphabet below. Out: `tokenizer.json` (HF `tokenizers`, unigram, pieces of one letter, a
meta symbol for the space), and the ids of texts as the runtime's front end makes them. Letters rather than
word pieces, because with a few thousand sentences every word piece would be rare.

Ids 0 and 1 are reserved for the start and the end of a text, 2 for what is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgetts.text.config import TextConfig
from edgetts.text.frontend import TextFrontend
from edgetts.text.tokenizer import TextTokenizer
from recipes.tiny.data import Corpus

SPACE = "▁"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ',.?!-"
SPECIAL = ("<s>", "</s>", "<unk>")
TOKENS = (*SPECIAL, SPACE, *ALPHABET)
N_TOKENS = len(TOKENS)
LETTER_SCORE = -3.0

TEXT_CONFIG = TextConfig(("en",), "upper", split_cjk=False)
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


def frontend(tokenizer: Path) -> TextFrontend:
    """The runtime's own text front end, so that training sees the text as speaking will."""
    return TextFrontend(TextTokenizer(tokenizer, TEXT_CONFIG), None)


def text_ids(front: TextFrontend, text: str) -> list[int]:
    """Token ids of a sentence, all segments in one."""
    return [i for segment in front.segments(text, MAX_SEGMENT_TOKENS).segments for i in segment.ids]


def add_text(work: Path, corpora: Sequence[Corpus]) -> None:
    """Kind `text` (Tt,): token ids of every recording's text."""
    save_tokenizer(work / "tokenizer.json")
    front = frontend(work / "tokenizer.json")
    for corpus in corpora:
        if not corpus.has("text"):
            corpus.put("text", [np.array(text_ids(front, it["text"]), np.int16) for it in corpus.items])
