"""The byte pair tokenizer: any text, special tokens included, to ids, without preparation.

In: text in the model's form. Out: ids, and the offset of each token. Tokens for the bytes of one character represent
that character once.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgetts.text.config import TextConfig
from edgetts.text.multilingual.languages import prefix
from edgetts.text.tokenizer import TextTokenizer, TokenizedText

_SURROGATE = re.compile("[\ud800-\udfff]")
STOP_ID = 1  # ends the text of a segment; the model drops ids 0 and 1 before it


class BytePairTokenizer(TextTokenizer):
    """The tokenizer of one pack. Safe to share between threads. No character is unknown to it."""

    def __init__(self, path: Path | str) -> None:
        """Read a `tokenizer.json`. Raises `PackError` if it is missing, too large or damaged."""
        super().__init__(path, TextConfig(languages=("zh", "en"), case="keep", split_cjk=False))

    def encode(self, text: str) -> TokenizedText:
        """Tokens, ids and offsets of `text` as it is; a lone surrogate counts as U+FFFD."""
        encoding = self._tokenizer.encode(clean(text), add_special_tokens=False)
        starts = tuple(start for start, _ in encoding.offsets)
        tokens: list[str] = []
        done = 0
        for _, stop in encoding.offsets:
            tokens.append(text[done : max(done, stop)])
            done = max(done, stop)
        return TokenizedText(tuple(tokens), tuple(encoding.ids), starts)

    def count(self, text: str) -> int:
        """The number of tokens of `text`."""
        return len(self._tokenizer.encode(clean(text), add_special_tokens=False))

    def segment_ids(self, text: str, code: str) -> tuple[int, ...]:
        """The model's input for a segment: the ids of prefix and text together, and the stop."""
        return (*self._tokenizer.encode(clean(prefix(code) + text), add_special_tokens=False).ids, STOP_ID)


def clean(text: str) -> str:
    """`text` without lone surrogates."""
    return text if text.isascii() else _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
