"""Converts a tiktoken byte-pair vocabulary to a `tokenizer.json` of Hugging Face `tokenizers` with the same ids.

In: a published `.tiktoken` file; each line has a piece in base64 and its rank. Out: a JSON file for
`tokenizers.Tokenizer.from_file`. A piece's id is its rank. The special tokens follow; the `.tiktoken` file does not
list them, so their order is taken from CosyVoice's `cosyvoice/tokenizer/tokenizer.py`. Does not need `tiktoken`. Does
not know prefixes, letter case or segments: those are in `edgetts.text.multilingual`.

tiktoken has ranks and no merges: it repeatedly joins the two neighbors whose union has the lowest rank, and a word that
is a piece is one token. `tokenizers` needs a list of merges. For each piece, `_parts` joins its bytes with all pieces
of lower rank; if two parts remain, they are the piece's merge. Both algorithms give the same tokens, because everything
inside a piece has a lower rank than the piece and is joined first.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from edgetts.errors import CheckpointError
from edgetts.quant.tokenizer_convert import read_bounded
from edgetts.text.multilingual.languages import TOKENS as LANGUAGE_TOKENS

MAX_VOCABULARY_BYTES = 16 * 2**20  # the published one has 0.9 MB
N_BYTES = 256
_EMPTY = b"="  # an empty piece; the published file has one, which no text contains

# GPT-2's pattern of words: the published vocabulary was trained on text split by it.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_EVENTS = (
    "ASR",
    "AED",
    "SER",
    *(f"{end}{event}" for event in ("Speech", "BGM", "Laughter", "Applause") for end in ("", "/")),
)
_EMOTIONS = ("HAPPY", "SAD", "ANGRY", "NEUTRAL")
_TASKS = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
_RESERVED = tuple(f"SPECIAL_TOKEN_{number}" for number in range(1, 31))
_SPEECH = (
    *(f"TTS/{name}" for name in ("B", "O", "Q", "A", "CO", "CL", "H")),
    *(f"TTS/SP{n:02d}" for n in range(1, 14)),
)
_TIMES = tuple(f"{number * 0.02:.2f}" for number in range(1501))  # seconds
SPECIAL_TOKENS = tuple(
    f"<|{name}|>"
    for name in (
        *("endoftext", "startoftranscript"),
        *LANGUAGE_TOKENS,
        *_EVENTS,
        *_EMOTIONS,
        *_TASKS,
        *_RESERVED,
        *_SPEECH,
        *_TIMES,
    )
)  # 1673; their ids follow those of the pieces


def _byte_letters() -> list[str]:
    """The letter that stands for each byte, as GPT-2 chose them: printable ones for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = sorted(set(range(N_BYTES)) - set(printable))
    codes = {**{byte: byte for byte in printable}, **{byte: N_BYTES + place for place, byte in enumerate(others)}}
    return [chr(codes[byte]) for byte in range(N_BYTES)]


_LETTERS = _byte_letters()
_BYTES = {letter: byte for byte, letter in enumerate(_LETTERS)}


def read_tiktoken(source: Path) -> Tokenizer:
    """The equivalent `Tokenizer` of the vocabulary `source`. Raises `CheckpointError` when it is missing or damaged."""
    return build_tiktoken(read_bounded(source, MAX_VOCABULARY_BYTES, "vocabulary", ".tiktoken file"), str(source))


def build_tiktoken(data: bytes, name: str) -> Tokenizer:
    """The equivalent `Tokenizer` for the content of a `.tiktoken` file; `name` is for messages.

    Raises `CheckpointError` if a line is malformed, ranks are not 0, 1, 2, ..., or a byte has no piece.
    """
    pieces = _pieces(data, name)
    ranks = {piece: rank for rank, piece in enumerate(pieces)}

    def spelled(piece: bytes) -> str:
        return "".join(_LETTERS[byte] for byte in piece)

    merges = []
    for rank, piece in enumerate(pieces):
        parts = _parts(piece, rank, ranks)
        if len(parts) == 2:  # with more parts no merge makes it: it is a token only as a whole word
            merges.append((spelled(parts[0]), spelled(parts[1])))
    vocabulary = {spelled(piece): rank for piece, rank in ranks.items()}
    tokenizer = Tokenizer(BPE(vocabulary, merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    if tokenizer.get_vocab_size() != len(pieces) + len(SPECIAL_TOKENS):
        raise CheckpointError(
            f"The vocabulary {name} lists special tokens among its pieces: download the checkpoint again."
        )
    return tokenizer


def piece_bytes(spelling: str) -> bytes:
    """The bytes of a piece from its spelling in `tokenizers`, which has one letter per byte."""
    return bytes(_BYTES[letter] for letter in spelling)


def _pieces(data: bytes, name: str) -> list[bytes]:
    """The pieces in the order of their ranks."""
    pieces: list[bytes] = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split()
        try:
            piece = b"" if fields[0] == _EMPTY else base64.b64decode(fields[0], validate=True)
            is_next = len(fields) == 2 and int(fields[1]) == len(pieces)
        except (binascii.Error, ValueError):
            is_next = False
        if not is_next:
            raise CheckpointError(
                f"Line {number} of the vocabulary {name} must be a piece in base64 and the rank {len(pieces)}: "
                "download the checkpoint again."
            )
        pieces.append(piece)
    distinct = set(pieces)
    n_bytes = sum(bytes([byte]) in distinct for byte in range(N_BYTES))
    if len(distinct) != len(pieces) or n_bytes != N_BYTES:
        problem = "the same piece twice" if len(distinct) != len(pieces) else f"{n_bytes} of {N_BYTES} single bytes"
        raise CheckpointError(f"The vocabulary {name} has {problem}: download the checkpoint again.")
    return pieces


def _parts(piece: bytes, rank: int, ranks: dict[bytes, int]) -> list[bytes]:
    """`piece` split into parts: its bytes, joined as tiktoken does with the pieces of lower rank than `rank`.

    The pair with the lowest rank is joined first; of equal pairs, the left one.
    """
    parts = [piece[at : at + 1] for at in range(len(piece))]
    while len(parts) > 2:
        lowest, place = min((ranks.get(parts[at] + parts[at + 1], rank), at) for at in range(len(parts) - 1))
        if lowest >= rank:
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts
