"""Tokenizes normalized text by the pack's `tokenizer.json`.

In: normalized text. Out: tokens, ids, and the offset of each token. The file may hold any model of Hugging Face
`tokenizers`. Differences between packs (letter case, separate CJK characters) are in `TextConfig`; a pack whose model
reads phones has a `Lexicon`. Does not know segments. Source: facts of upstream's `indextts/utils/front.py` and
`common.py`.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from edgetts.errors import PackError
from edgetts.text.config import TextConfig
from edgetts.text.lexicon import Lexicon
from edgetts.text.traced import TracedText

MAX_FILE_BYTES = 64 * 2**20

# Hangul Jamo; CJK radicals to Yi; Phags-pa to Hangul; compatibility ideographs and forms; half-width
# forms; supplementary ideographs. The ranges of NLTK's CJK tokenization, which upstream uses.
_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff65-\uffdc\U00020000-\U0002ffff]"
)
_SPACE = re.compile(r"\s{2,}|[^\S ]")  # white space that is not one space already
_SURROGATE = re.compile("[\ud800-\udfff]")
_NEVER_A_PIECE = "\ufffe"  # a Unicode noncharacter
_UNKNOWN_PIECES = ("<unk>", "[UNK]")

# Letters that do not decompose into a base letter and a mark.
_PLAIN_LETTERS = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ı": "i",
    "Æ": "AE", "Œ": "OE", "Ø": "O", "Đ": "D", "Ð": "D", "Ł": "L", "Þ": "TH", "ẞ": "SS",
}  # fmt: skip


@dataclass(frozen=True)
class TokenizedText:
    """Tokens of one text; the three tuples are equally long."""

    tokens: tuple[str, ...]  # pieces, or the characters that no piece covers
    ids: tuple[int, ...]
    starts: tuple[int, ...]  # offset in the text at which the token begins, non-decreasing


class TextTokenizer:
    """The tokenizer of one pack. Safe to share between threads."""

    def __init__(self, path: Path | str, config: TextConfig, lexicon: Lexicon | None = None) -> None:
        """Reads a `tokenizer.json`. Raises `PackError` if it is missing, too large or damaged."""
        path = Path(path)
        advice = "convert the checkpoint again, or fetch the pack again"
        try:
            size = path.stat().st_size
        except OSError as error:
            raise PackError(f"The tokenizer {path} cannot be read ({error.strerror}): {advice}.") from error
        if size > MAX_FILE_BYTES:
            raise PackError(f"The tokenizer {path} has {size} bytes; at most {MAX_FILE_BYTES} are allowed: {advice}.")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        # `tokenizers` raises Exception for most damage. For some its Rust code panics, which raises a
        # BaseException that cannot be imported.
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            reason = " ".join(str(error).split())[:200]
            raise PackError(f"The tokenizer {path} is damaged ({reason}): {advice}.") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.config = config
        self.lexicon = lexicon
        self.unknown_id = _unknown_id(self._tokenizer)
        self._known: dict[str, bool] = {}
        try:
            self._tokenizer.encode(_NEVER_A_PIECE)
        except Exception as error:
            raise PackError(f"The tokenizer {path} has no piece for unknown characters: {advice}.") from error

    def has_piece(self, piece: str) -> bool:
        """Whether `piece` is in the vocabulary."""
        return self._tokenizer.token_to_id(piece) is not None

    def tokenize(self, text: str) -> list[str]:
        """The tokens of normalized `text`."""
        return list(self.encode(text).tokens)

    def ids(self, tokens: list[str]) -> list[int]:
        """One id per token; a token that is not in the vocabulary gets the id of the unknown piece.

        Raises `PackError` if the tokenizer has no unknown piece.
        """
        ids = []
        for token in tokens:
            token_id = self._tokenizer.token_to_id(token)
            if token_id is None:
                token_id = self.unknown_id
            if token_id is None:
                raise PackError(f"The pack's tokenizer has neither an id for {token!r} nor one for unknown pieces.")
            ids.append(token_id)
        return ids

    def encode(self, text: str) -> TokenizedText:
        """Tokens, ids and offsets of normalized `text`. Never raises, whatever the text."""
        prepared = self._prepare(text)
        encoding = self._tokenizer.encode(prepared.text, add_special_tokens=False)
        characters, origins, n_characters = prepared.text, prepared.origins, len(prepared.text)
        starts: list[int] = []
        latest = 0
        for start, _ in encoding.offsets:
            at = start
            # A token that begins a word includes the space before it; the space counts to the token before.
            while at < n_characters and characters[at] == " ":
                at += 1
            if at < n_characters and origins[at] > latest:
                latest = origins[at]
            starts.append(latest)
        return TokenizedText(tuple(encoding.tokens), tuple(encoding.ids), tuple(starts))

    def unknown_characters(self, text: str, tokenized: TokenizedText | None = None) -> list[str]:
        """The distinct characters of `text` that the model cannot speak, in order of appearance.

        Characters that the tokenizer drops (control and invisible ones) are not included. tokenized: the result of
        `encode` for `text`, to save its computation.
        """
        if tokenized is None:
            tokenized = self.encode(text)
        if self.unknown_id not in tokenized.ids:
            return []
        edges = (*tokenized.starts, len(text))
        unknown: dict[str, None] = {}
        for token_id, (start, stop) in zip(tokenized.ids, itertools.pairwise(edges), strict=True):
            if token_id == self.unknown_id:
                unknown |= dict.fromkeys(char for char in text[start:stop] if not self._knows(char))
        return list(unknown)

    def _knows(self, char: str) -> bool:
        """Whether there is a piece for `char` on its own."""
        if char not in self._known:
            self._known[char] = self.unknown_id not in self.encode(char).ids
        return self._known[char]

    def spell_known(self, text: TracedText) -> TracedText:
        """`text` with unknown letters replaced by known ones if possible: é by e, ß by ss."""
        if text.text.isascii() or all(_plain(char) == char for char in set(text.text)):
            return text
        table: dict[int, str] = {}
        for char in self.unknown_characters(text.text):
            plain = _plain(char)
            if plain != char and plain and all(self._knows(c) for c in plain):
                table[ord(char)] = plain
        return text.translate(table) if table else text

    def _prepare(self, text: str) -> TracedText:
        """`text` with separate CJK characters, letters in the model's case or phones, and single spaces, trimmed."""
        traced = TracedText.of(text)
        if not text.isascii():
            traced = traced.substitute(_SURROGATE, lambda _: "\N{REPLACEMENT CHARACTER}")
            if self.config.split_cjk:
                traced = traced.substitute(_CJK, lambda m: f" {m.group()} ")
        traced = traced.substitute(_SPACE, lambda _: " ")
        stripped = traced.text.strip()
        if len(stripped) < len(traced.text):
            start = traced.text.index(stripped) if stripped else 0
            traced = traced.slice(start, start + len(stripped))
        traced = self._cased(traced)
        return traced if self.lexicon is None else self.lexicon.pronounce(traced, text)

    def _cased(self, text: TracedText) -> TracedText:
        if self.config.case == "keep":
            return text
        change = str.upper if self.config.case == "upper" else str.lower
        if text.text.isascii():
            return TracedText(change(text.text), text.origins)
        return text.translate({ord(char): change(char) for char in set(text.text)})


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    found = (tokenizer.token_to_id(piece) for piece in _UNKNOWN_PIECES)
    return next((token_id for token_id in found if token_id is not None), None)


def _plain(char: str) -> str:
    """`char` without combining marks, as plain letters; or `char` itself."""
    if char in _PLAIN_LETTERS:
        return _PLAIN_LETTERS[char]
    parts = unicodedata.normalize("NFKD", char)
    return "".join(part for part in parts if not unicodedata.combining(part))
