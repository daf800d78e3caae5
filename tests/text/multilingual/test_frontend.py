"""The whole way from a text to segments with ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.growth import KINDS, text_of

from edgetts.errors import PackError
from edgetts.text.multilingual.frontend import MultilingualFrontend
from edgetts.text.multilingual.languages import prefix
from edgetts.text.multilingual.tokenizer import STOP_ID, BytePairTokenizer


def test_each_segment_has_one_language_and_says_it(frontend: MultilingualFrontend, pieces: Any) -> None:
    text = "Good morning. ¡Hola! 你好。おはよう。 صباح الخير!"
    plan = frontend.segments(text)
    assert plan.languages == ("en", "es", "zh", "ja", "ar")
    assert plan.language == "ar"
    assert [segment.text for segment in plan.segments] == [
        "good morning.",
        "¡HOLA!",
        "你好.",
        "おはよう .",
        "صباح الخير!",
    ]
    assert [segment.written for segment in plan.segments] == [
        "Good morning.",
        "¡Hola!",
        "你好。",
        "おはよう。",
        "صباح الخير!",
    ]
    assert [segment.pause_after_s for segment in plan.segments] == [0.35, 0.35, 0.35, 0.35, 0.0]
    for segment in plan.segments:
        assert segment.language is not None
        ids = pieces.tokenizer.encode(prefix(segment.language) + segment.text).ids
        assert segment.ids == (*ids, STOP_ID)
        assert "".join(segment.tokens) == segment.text
        assert segment.length.least_s > 0
    assert "".join(text[segment.start : segment.end] for segment in plan.segments) == text


def test_a_language_that_is_named_reads_everything(frontend: MultilingualFrontend) -> None:
    text = "Madrid 12:30. Good."
    assert frontend.segments(text, language="es").segments[0].text == "MADRID DOCE Y TREINTA. GOOD."
    assert frontend.segments(text).languages == ("en",)
    assert frontend.segments(text, language="ja").languages == ("ja",)


def test_a_text_that_arrives_in_parts_keeps_its_language(frontend: MultilingualFrontend) -> None:
    first = frontend.segments("Tengo hambre, ")
    assert first.language == "es"
    second = frontend.segments("12:30. ", previous=first.language)
    assert (second.languages, second.segments[0].text) == (("es",), "DOCE Y TREINTA.")
    assert frontend.segments("", previous="es").language == "es"


def test_annotations_are_whole_and_their_length_is_that_of_their_sounds(frontend: MultilingualFrontend) -> None:
    plan = frontend.segments("把<重|CHONG2>复的句子再<重|ZHONG4>读一遍。" * 4, 16)
    assert len(plan.segments) > 4
    assert all(segment.text.count("<|SPECIAL_TOKEN_2|>") % 2 == 0 for segment in plan.segments)
    plain, annotated = frontend.segments("重复。").segments[0], frontend.segments("<重|CHONG2>复。").segments[0]
    assert annotated.length.least_s <= plain.length.least_s


def test_a_reading_in_kana_and_a_special_token_are_never_cut(frontend: MultilingualFrontend) -> None:
    text = "今日は<明日|あすあすあす>も<|HAPPY|>晴れて<玄人|クロウトクロウト>も来る" * 3
    for limit in range(8, 30):
        spoken = [segment.text for segment in frontend.segments(text, limit).segments]
        assert sum(part.count("あすあすあす") for part in spoken) == 3, limit
        assert sum(part.count("クロウトクロウト") for part in spoken) == 3, limit
        assert sum(part.count("<|HAPPY|>") for part in spoken) == 3, limit


def test_written_parts_are_in_order_where_a_cut_falls_into_an_annotation(frontend: MultilingualFrontend) -> None:
    plan = frontend.segments("12/3/2026<明日|あす><重|CHONG2>Σ", 5, language="es")
    edges = [edge for segment in plan.segments for edge in (segment.start, segment.end)]
    assert edges == sorted(edges)


def test_pauses_markdown_and_lines_as_for_any_front_end(frontend: MultilingualFrontend) -> None:
    plan = frontend.segments("# Hola\n\nEsto es **todo** [pause:1] y nada más.", markup=True, markdown=True)
    assert [segment.text for segment in plan.segments] == ["HOLA", "ESTO ES TODO", "Y NADA MÁS."]
    assert [segment.pause_after_s for segment in plan.segments] == [0.7, 1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "mark", "pause_s"), [("Hola…", "…", 0.45), ("'Hola.'", ".'", 0.35), ("كيف؟", "؟", 0.35), ("Hola", "", 0.0)]
)
def test_natural_pauses(frontend: MultilingualFrontend, text: str, mark: str, pause_s: float) -> None:
    segment = frontend.segments(text).segments[0]
    assert segment.text.endswith(mark)
    assert segment.natural_pause_s == segment.with_pause(0.0).natural_pause_s == pause_s


def test_what_is_not_spoken_is_told(frontend: MultilingualFrontend) -> None:
    assert frontend.segments("!!!").notices == ("Left out '!!!': the model can speak nothing in it.",)
    assert frontend.segments("  ").segments == frontend.segments("").segments == ()
    spoken = "this model speaks only Chinese, English, Japanese, Spanish, Arabic."
    assert frontend.segments("Привет").notices == (f"The text has letters of the Cyrillic script, but {spoken}",)
    german = "Guten Tag, ich bin heute nicht zu Hause und komme morgen wieder."
    assert frontend.segments(german).notices == (f"The text seems to be German, but {spoken}",)
    assert frontend.segments("Hola, buenos días, ¿cómo estás? π = 3").notices == ()


@pytest.mark.parametrize("language", ["zh", "en", "ja", "es", "ar", None])
def test_any_text_gives_a_plan(frontend: MultilingualFrontend, pieces: Any, language: Any) -> None:
    for kind in KINDS:
        text = text_of(kind, 300)
        plan = frontend.segments(text, 30, language=language)
        for segment in plan.segments:
            assert 0 <= segment.start <= segment.end <= len(text)
            assert len(segment.ids) <= 31
    theirs = MultilingualFrontend(pieces.tokenizer, normalizer="upstream")
    for text in (
        "\x00a\x07b",
        "a\ud800b",
        "す\ud800し",
        "\ue000\ufffe",
        "<|HAPPY|>",
        "<a|b",
        "qx" * 50,
        "3<个|GE4>" * 30,
    ):
        frontend.segments(text, 30, language=language)
        theirs.segments(text, 30, language=language)


def test_a_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PackError):
        BytePairTokenizer(tmp_path / "tokenizer.json")


def test_tokens_share_a_character_that_several_spell(pieces: Any) -> None:
    encoded = pieces.tokenizer.encode("a😀\ud800b")
    assert "".join(encoded.tokens) == "a😀\ud800b"
    assert len(encoded.tokens) == len(encoded.ids) == len(encoded.starts) > 4
    assert list(encoded.starts) == sorted(encoded.starts)
