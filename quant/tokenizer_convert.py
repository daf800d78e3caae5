"""Converts a SentencePiece unigram model to a `tokenizer.json` of Hugging Face `tokenizers` with the same ids.

In: `bpe.model` as published (despite its name a unigram model). Out: one JSON file for
`tokenizers.Tokenizer.from_file`. It needs neither `sentencepiece` nor `protobuf`. It does not know text preparation
(CJK splitting, case), which is in `edgetts.text.tokenizer`.

Sources: sentencepiece_model.proto (field numbers); unigram_model.cc (scores of user-defined pieces).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import Unigram

from edgetts.errors import CheckpointError
from edgetts.quant.protobuf import WireError, read_bytes, read_fields, read_float, read_int, read_text

MAX_MODEL_BYTES = 64 * 2**20  # the published one has 0.5 MB

_UNIGRAM = 1
_MODEL_TYPE_NAMES = {1: "unigram", 2: "BPE", 3: "word", 4: "char"}
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6

# SentencePiece scores a user-defined piece `length * max_score - 0.1`, where max_score is the smallest positive float
# for log-probabilities, so the first term vanishes. Such a piece beats all others.
_USER_DEFINED_SCORE = -0.1
_WORD_START = "▁"
_NEVER_A_PIECE = "\ufffe"  # a non-character: stands for a control piece spelled out in a text


@dataclass
class _Model:
    """The fields of a ModelProto that determine ids, with the defaults of the proto."""

    pieces: list[tuple[str, float, int]] = field(default_factory=list)  # text, score, type
    model_type: int = _UNIGRAM
    byte_fallback: bool = False
    whitespace_as_suffix: bool = False
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True


def read_tokenizer(source: Path) -> Tokenizer:
    """The equivalent `Tokenizer` of the SentencePiece model `source`.

    Raises `CheckpointError` if `source` is missing, damaged, or a model whose ids `tokenizers` cannot reproduce (BPE,
    word, char, unused pieces, suffix whitespace).
    """
    return build_tokenizer(read_bounded(source, MAX_MODEL_BYTES, "text tokenizer", "bpe.model"), str(source))


def read_bounded(source: Path, most: int, what: str, usual: str) -> bytes:
    """The bytes of a vocabulary file. Raises CheckpointError if it is missing or has more than `most` bytes.

    what, usual: its kind and its usual name, for messages.
    """
    try:
        size = source.stat().st_size
        if size > most:
            raise CheckpointError(
                f"{source} has {size} bytes; a {what} has at most {most}: check that this is the checkpoint's {usual}."
            )
        return source.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The {what} {source} cannot be read ({error.strerror}): download the checkpoint again."
        ) from error


def build_tokenizer(data: bytes, name: str) -> Tokenizer:
    """The equivalent `Tokenizer` for the bytes of a SentencePiece model; `name` is for messages.

    Raises `CheckpointError` as `read_tokenizer` does.
    """
    try:
        model = _parse_model(data)
        normalizer = _normalizer(model)
    except WireError as error:
        raise CheckpointError(
            f"{name} is not a SentencePiece model or is damaged ({error}): download the checkpoint again."
        ) from error
    unknown_id = _check_model(model, name)

    vocabulary = [(text, _USER_DEFINED_SCORE if kind == _USER_DEFINED else score) for text, score, kind in model.pieces]
    tokenizer = Tokenizer(Unigram(vocabulary, unknown_id, model.byte_fallback))
    tokenizer.normalizer = normalizer
    # No piece spans words, so words are independent, and `tokenizers` can cache them.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(_WORD_START, prepend_scheme="never", split=True)
    tokenizer.decoder = decoders.Metaspace(_WORD_START, prepend_scheme="always" if model.add_dummy_prefix else "never")
    return tokenizer


def _normalizer(model: _Model) -> normalizers.Normalizer:
    """SentencePiece's order: character map, extra spaces, dummy prefix, spaces become word starts."""
    steps: list[normalizers.Normalizer] = []
    if model.charsmap:
        steps.append(_character_map(model.charsmap))
    # SentencePiece never maps text to a control piece; in `tokenizers` every piece can match.
    steps += [normalizers.Replace(text, _NEVER_A_PIECE) for text, _, kind in model.pieces if kind == _CONTROL]
    if model.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex("^ +| +$"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if model.add_dummy_prefix:
        steps.append(normalizers.Prepend(" "))
    steps.append(normalizers.Replace(" ", _WORD_START))
    return normalizers.Sequence(steps)


def _character_map(charsmap: bytes) -> normalizers.Normalizer:
    """SentencePiece's own normalization table (NFKC and more). Raises `WireError` if it is damaged.

    One known difference: after a character that the table rewrites ("™"), `tokenizers` drops a combining mark, while
    SentencePiece returns the unknown piece.
    """
    try:
        return normalizers.Precompiled(charsmap)
    except Exception as error:
        raise WireError("its character map is damaged") from error


def _check_model(model: _Model, name: str) -> int:
    """The id of the unknown piece. Raises `CheckpointError` for a model that cannot be converted."""
    kinds = [kind for _, _, kind in model.pieces]
    texts = {text for text, _, _ in model.pieces}
    problem = None
    if model.model_type != _UNIGRAM:
        problem = f"it is a {_MODEL_TYPE_NAMES.get(model.model_type, 'newer')} model"
    elif not model.pieces:
        problem = "it has no pieces"
    elif len(texts) != len(model.pieces):
        problem = "it has the same piece twice"
    elif kinds.count(_UNKNOWN) != 1:
        problem = f"it has {kinds.count(_UNKNOWN)} unknown pieces instead of one"
    elif _NORMAL not in kinds:
        problem = "it has no normal pieces"
    elif _UNUSED in kinds:
        problem = "it has unused pieces"
    elif not set(kinds) <= {_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE}:
        problem = "it has pieces of an unknown type"
    elif model.whitespace_as_suffix:
        problem = "it puts the word mark at the end of words"
    elif not model.escape_whitespaces:
        problem = "it does not mark the start of words"
    elif any(_WORD_START in text[1:] for text in texts):
        problem = "it has pieces that span several words"
    if problem:
        raise CheckpointError(
            f"The text tokenizer {name} cannot be converted: {problem}; expected the SentencePiece unigram "
            "model that IndexTTS-2 publishes as bpe.model."
        )
    return kinds.index(_UNKNOWN)


def _parse_model(data: bytes) -> _Model:
    model = _Model()
    for number, value in read_fields(data):
        if number == 1:
            model.pieces.append(_parse_piece(read_bytes(value)))
        elif number == 2:
            for inner, setting in read_fields(read_bytes(value)):
                if inner == 3:
                    model.model_type = read_int(setting)
                elif inner == 24:
                    model.whitespace_as_suffix = bool(read_int(setting))
                elif inner == 35:
                    model.byte_fallback = bool(read_int(setting))
        elif number == 3:
            for inner, setting in read_fields(read_bytes(value)):
                if inner == 2:
                    model.charsmap = read_bytes(setting)
                elif inner == 3:
                    model.add_dummy_prefix = bool(read_int(setting))
                elif inner == 4:
                    model.remove_extra_whitespaces = bool(read_int(setting))
                elif inner == 5:
                    model.escape_whitespaces = bool(read_int(setting))
    return model


def _parse_piece(message: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, _NORMAL
    for number, value in read_fields(message):
        if number == 1:
            text = read_text(value)
        elif number == 2:
            score = read_float(value)
        elif number == 3:
            kind = read_int(value)
    return text, score, kind
