"""Fixtures of the multilingual text tests: golden texts, and the part of the published vocabulary that they need."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.paths import SHARED

from edgetts.quant.tiktoken_convert import SPECIAL_TOKENS, build_tiktoken, read_tiktoken
from edgetts.text.multilingual.frontend import MultilingualFrontend
from edgetts.text.multilingual.normalize import MultilingualNormalizer
from edgetts.text.multilingual.tokenizer import BytePairTokenizer

DATA = Path(__file__).parent / "data"
PUBLISHED_PIECES = 58836


@dataclass(frozen=True)
class Pieces:
    """A part of the published vocabulary, with ids of its own."""

    tokenizer: BytePairTokenizer
    ranks: list[int]  # published, by own id

    def published(self, ids: tuple[int, ...], *, stop: bool = True) -> list[int]:
        """Ids of a segment as the whole vocabulary has them; the last one is no piece but the stop."""
        end = len(ids) - stop
        n = len(self.ranks)
        whole = [self.ranks[place] if place < n else place - n + PUBLISHED_PIECES for place in ids[:end]]
        return [*whole, *ids[end:]]


@pytest.fixture(scope="session")
def texts() -> list[dict[str, Any]]:
    """84 texts with what upstream made of them; what was left out because it equals another is there again."""
    cases: list[dict[str, Any]] = json.loads((DATA / "texts.json").read_text(encoding="utf-8"))
    assert len(cases) == 84
    for case in cases:
        case.setdefault("final_raw", case["final"])
        case.setdefault("final_wetext", case["final"])
        case.setdefault("segments_30", case["segments_120"])
        case.setdefault("ids_30", case["ids_120"])
    return cases


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Pieces:
    rows = [line.split() for line in (DATA / "pieces.tiktoken").read_text().splitlines()]
    content = "".join(f"{piece} {place}\n" for place, (piece, _) in enumerate(rows))
    path = tmp_path_factory.mktemp("pieces") / "tokenizer.json"
    path.write_text(build_tiktoken(content.encode(), "pieces").to_str(), encoding="utf-8")
    return Pieces(BytePairTokenizer(path), [int(rank) for _, rank in rows])


@pytest.fixture(scope="session")
def vocabulary() -> Path:
    """The published vocabulary."""
    if SHARED is None:
        pytest.skip("needs the published vocabulary in ../shared")
    return SHARED / "reference-2.5/real/multilingual_zh_ja_yue_char_del.tiktoken"


@pytest.fixture(scope="session")
def published(vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> BytePairTokenizer:
    path = tmp_path_factory.mktemp("published") / "tokenizer.json"
    converted = read_tiktoken(vocabulary)
    assert converted.get_vocab_size() == PUBLISHED_PIECES + len(SPECIAL_TOKENS)
    converted.save(str(path))
    return BytePairTokenizer(path)


@pytest.fixture(scope="session")
def ours() -> MultilingualNormalizer:
    return MultilingualNormalizer()


@pytest.fixture(scope="session")
def upstream() -> MultilingualNormalizer:
    return MultilingualNormalizer(kind="upstream")


@pytest.fixture(scope="session")
def frontend(pieces: Pieces, ours: MultilingualNormalizer) -> MultilingualFrontend:
    return MultilingualFrontend(pieces.tokenizer, normalizer=ours)
