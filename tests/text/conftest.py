"""Fixtures of the text tests: the goldens, a small tokenizer, and the published one where it is at hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers.paths import GOLDEN, SHARED
from helpers.small_tokenizer import CONFIG, small_tokenizer

from edgetts.quant.tokenizer_convert import read_tokenizer
from edgetts.text.frontend import TextFrontend
from edgetts.text.normalize import TextNormalizer
from edgetts.text.tokenizer import TextTokenizer


@pytest.fixture(scope="session")
def golden_texts() -> list[dict[str, Any]]:
    """40 texts with what upstream made of them."""
    cases: list[dict[str, Any]] = json.loads((GOLDEN / "text.json").read_text(encoding="utf-8"))
    assert len(cases) == 40
    return cases


@pytest.fixture(scope="session")
def normalizer() -> TextNormalizer:
    """For Chinese and English, without a glossary."""
    return TextNormalizer(CONFIG)


@pytest.fixture(scope="session")
def upstream() -> TextNormalizer:
    """As IndexTTS-2 reads, for parity."""
    return TextNormalizer(CONFIG, kind="upstream")


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    """A few dozen pieces."""
    return small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def frontend(tokenizer: TextTokenizer, normalizer: TextNormalizer) -> TextFrontend:
    return TextFrontend(tokenizer, normalizer=normalizer)


@pytest.fixture(scope="session")
def published_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    """Converted from the published model, which may not be copied into the project."""
    if SHARED is None:
        pytest.skip("needs the published text model in ../shared")
    target = tmp_path_factory.mktemp("published") / "tokenizer.json"
    read_tokenizer(SHARED / "reference/real/bpe.model").save(str(target))
    return TextTokenizer(target, CONFIG)
