"""A work folder that begins with the weights of a pack: what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgetts import TTS
from edgetts.pack.entries import LEXICON_FILE, PRONOUNCER_FILE, TOKENIZER_FILE
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from recipes.tiny.corpus.text import MAX_SEGMENT_TOKENS, frontend, text_ids
from recipes.tiny.stages.init_from_pack import start_from
from recipes.tiny.stages.train_s2mel import final_weights


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    start_from(open_pack(builtin_pack()), folder)
    return folder


def test_it_has_the_pronouncer_that_export_writes(work: Path) -> None:
    assert (work / PRONOUNCER_FILE).read_bytes() == (builtin_pack() / PRONOUNCER_FILE).read_bytes()


def test_training_reads_acronyms_and_unknown_words_as_the_runtime_does(work: Path, tmp_path: Path) -> None:
    for name in (LEXICON_FILE, TOKENIZER_FILE, PRONOUNCER_FILE):
        (tmp_path / name).write_bytes((builtin_pack() / name).read_bytes())
    text = "CNN broadcast a snorfle."
    (expected,) = TTS.load("builtin", device="cpu").frontend().segments(text, MAX_SEGMENT_TOKENS).segments
    assert text_ids(frontend(tmp_path), text) == list(expected.ids)
    (tmp_path / PRONOUNCER_FILE).unlink()
    assert text_ids(frontend(tmp_path), text) != list(expected.ids)


def test_weights_are_those_of_the_pack(work: Path) -> None:
    expected, found = open_pack(builtin_pack()).state_dict("s2mel"), final_weights(work)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
