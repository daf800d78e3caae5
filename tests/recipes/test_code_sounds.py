"""Which sound each code is: counted from codes and text, refused where the codes do not tell, put into a pack."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from edgetts.decoding.spoken import NO_SOUND, CodeSounds
from edgetts.pack.entries import CODE_SOUNDS_FILE
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from recipes.tiny.corpus.text import SPACE, TOKENS
from recipes.tiny.stages import code_sounds

SOUNDS = [TOKENS.index(t) for t in "mnsa"]
SILENCE = 7


def pairs(wrong: float) -> code_sounds.Pairs:
    """Codes 4 n to 4 n + 3 are sound n, but for a share of them; silence at spaces."""
    chance = random.Random(0)
    for _ in range(200):
        truth = [chance.randrange(4) for _ in range(20)]
        codes = [10 + 4 * (chance.randrange(4) if chance.random() < wrong else n) + chance.randrange(4) for n in truth]
        yield [*codes, SILENCE], [*(SOUNDS[n] for n in truth), TOKENS.index(SPACE)]


def test_each_code_is_the_sound_that_it_has_most_often() -> None:
    found = code_sounds.table(pairs(0.2), 40, SILENCE)
    assert found is not None and found.word_start == TOKENS.index(SPACE)
    assert found.token_of_code[10:26] == tuple(t for t in SOUNDS for _ in range(4))
    assert set(found.token_of_code[:10] + found.token_of_code[26:]) == {NO_SOUND}


def test_codes_that_do_not_tell_make_no_table() -> None:
    assert code_sounds.table(pairs(1.0), 40, SILENCE) is None


def test_a_pack_gets_its_table(tmp_path: Path) -> None:
    """From ten sentences it knows the common codes as the shipped one does."""
    pack = tmp_path / "pack"
    shutil.copytree(builtin_pack(), pack)
    (pack / CODE_SOUNDS_FILE).unlink()
    manifest = (pack / "manifest.json").read_bytes()
    with pytest.raises(Exception, match=CODE_SOUNDS_FILE):
        open_pack(pack, verify=True)
    shutil.copytree(builtin_pack(), pack, dirs_exist_ok=True)
    sentences = code_sounds.SENTENCES.read_text(encoding="utf-8").splitlines()[:10]
    assert code_sounds.add(pack, sentences)
    made, shipped = (CodeSounds.of_pack(open_pack(p)) for p in (pack, builtin_pack()))
    assert made is not None and shipped is not None and (pack / "manifest.json").read_bytes() != manifest
    both = [(a, b) for a, b in zip(made.token_of_code, shipped.token_of_code, strict=True) if NO_SOUND not in (a, b)]
    assert len(both) > 40 and sum(a == b for a, b in both) > 0.8 * len(both)
