from __future__ import annotations

import pytest

from edgetts.text.pinyin import SYLLABLE, spell


@pytest.mark.parametrize(
    "text", ["ni3", "HAO3", "xuan4", "jve2", "lü4", "lv4", "zhong1", "er2", "ng5", "shuang3", "a1"]
)
def test_syllables_with_a_tone(text: str) -> None:
    assert SYLLABLE.fullmatch(text)


@pytest.mark.parametrize("text", ["beta1", "voice2", "hunger2", "babala2", "ni6", "ni0", "A12", "mp3", "ni"])
def test_what_is_no_syllable(text: str) -> None:
    assert not SYLLABLE.search(text)


@pytest.mark.parametrize(
    ("written", "spelled"),
    [("xuan", "XVAN"), ("ju", "JV"), ("que", "QVE"), ("xün", "XVN"), ("xiu", "XIU"), ("lü", "LV"), ("zhu", "zhu")],
)
def test_spelling_as_the_pieces(written: str, spelled: str) -> None:
    assert spell(written) == spelled
