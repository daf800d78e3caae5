"""A tiktoken vocabulary of byte pairs becomes a `tokenizer.json` of Hugging Face `tokenizers`, same ids.

In: a `.tiktoken` file as published, one base64 piece and its rank a line. Out: one JSON file that
`tokenizers.Tokenizer.from_file` reads: the pieces at their ranks, then the special tokens in the order of CosyVoice's
`cosyvoice/tokenizer/tokenizer.py`, which the file does not hold. Needs no `tiktoken`. Does not know prefixes, letter
case or segments: those are `edgetts.text.multilingual`.

tiktoken joins the neighbors whose union has the lowest rank, and takes a whole word that is a piece as it is. Here each
piece gives one merge: the two parts that the pieces of lower rank leave of it. That is the same wherever it is applied,
for what lies inside a piece is joined by lower ranks before the piece itself.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from edgetts.errors import CheckpointError
from edgetts.text.multilingual.languages import TOKENS as LANGUAGE_TOKENS

MAX_VOCABULARY_BYTES = 16 * 2**20  # the published one has 0.9 MB
N_BYTES = 256
_EMPTY = b"="  # the published file has one such line: a piece without bytes, which no text has

# GPT-2's words, which the published vocabulary was counted in.
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
)  # 1673, with ids from the number of pieces on


def _byte_letters() -> list[str]:
    """The letter that stands for each byte, as GPT-2 chose them: printable ones for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = sorted(set(range(N_BYTES)) - set(printable))
    codes = {**{byte: byte for byte in printable}, **{byte: N_BYTES + place for place, byte in enumerate(others)}}
    return [chr(codes[byte]) for byte in range(N_BYTES)]


_LETTERS = _byte_letters()
_BYTES = {letter: byte for byte, letter in enumerate(_LETTERS)}


def convert_tiktoken(source: Path, target: Path) -> int:
    """Writes `target` (a `tokenizer.json`) for the vocabulary `source`; returns the number of ids.

    Raises `CheckpointError` as `read_tiktoken` does.
    """
    tokenizer = read_tiktoken(source)
    target.write_text(tokenizer.to_str(), encoding="utf-8")
    return int(tokenizer.get_vocab_size())


def read_tiktoken(source: Path) -> Tokenizer:
    """The equivalent `Tokenizer` of the vocabulary `source`. Raises `CheckpointError` when it is missing or damaged."""
    try:
        size = source.stat().st_size
        if size > MAX_VOCABULARY_BYTES:
            raise CheckpointError(
                f"{source} has {size} bytes; a vocabulary has at most {MAX_VOCABULARY_BYTES}: "
                "check that this is the checkpoint's .tiktoken file."
            )
        data = source.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The vocabulary {source} cannot be read ({error.strerror}): download the checkpoint again."
        ) from error
    return build_tiktoken(data, str(source))


def build_tiktoken(data: bytes, name: str) -> Tokenizer:
    """The equivalent `Tokenizer` for the content of a `.tiktoken` file; `name` is for messages.

    Raises `CheckpointError` if a line is none, ranks are not 0, 1, 2, ... or a byte is missing.
    """
    pieces = _pieces(data, name)
    ranks = {piece: rank for rank, piece in enumerate(pieces)}

    def spelled(piece: bytes) -> str:
        return "".join(_LETTERS[byte] for byte in piece)

    merges = []
    for rank, piece in enumerate(pieces):
        parts = _parts(piece, rank, ranks)
        if len(parts) == 2:  # more: it is met as a whole word only
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
            f"The vocabulary {name} has pieces that are special tokens: download the checkpoint again."
        )
    return tokenizer


def piece_bytes(spelling: str) -> bytes:
    """The bytes of a piece as `tokenizers` spells it, one letter a byte."""
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
                f"Line {number} of the vocabulary {name} is not a piece in base64 and the rank {len(pieces)}: "
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
    """What the pieces of lower rank than `rank` leave of `piece`: the lowest pair is joined first, the left one of
    equals."""
    parts = [piece[at : at + 1] for at in range(len(piece))]
    while len(parts) > 2:
        lowest, place = min((ranks.get(parts[at] + parts[at + 1], rank), at) for at in range(len(parts) - 1))
        if lowest >= rank:
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts
