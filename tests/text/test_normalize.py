from __future__ import annotations

import pytest
from helpers.small_tokenizer import CONFIG

from edgetts.errors import UsageError
from edgetts.text.config import Language, TextConfig
from edgetts.text.glossary import Glossary
from edgetts.text.normalize import TextNormalizer
from edgetts.text.rules import NumberRules


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Meet me on March 5th, 2024.", "Meet me on the fifth of march, twenty twenty four."),
        ("That is $12.50 for 3 kg.", "That is twelve point five dollars for three kilograms."),
        ("Call 555-123-4567.", "Call five five five, one two three, four five six seven."),
        ("What's up? It's late, who's there", "What is up? It is late, who is there"),
        ("The rabbit's foot isn't theirs", "The rabbit's foot isn't theirs"),
        ("今天是2025年9月8日，花了￥200。", "今天是二零二五年九月八日,花了两百元."),
        ("温度-3℃，速度10km/h", "温度负三摄氏度,速度每小时十公里"),
        ("打135-4567-8900给我", "打一三五四五六七八九零零给我"),
        ("GPT-5-nano and F5-TTS", "GPT-five-nano and F five-TTS"),
        ("用GPT-5-nano吧", "用GPT-五-nano吧"),
        ("约瑟夫·高登-莱维特", "约瑟夫-高登-莱维特"),
        ("银hang2里xuan4了lü4色3天", "银hang2里XVAN4了LV4色三天"),
        ("ni3 hao3, 3", "ni3 hao3, 三"),
    ],
)
def test_written_text_becomes_spoken_text(upstream: TextNormalizer, text: str, spoken: str) -> None:
    assert upstream.normalize(text) == spoken


@pytest.mark.parametrize(
    ("text", "spoken", "reason"),
    [
        ("No. I won't.", "No. I won't.", "the rules say 'number' for an answer"),
        ("It is in box No. 5 now", "It is in box Number. five now", "but before a number they are right"),
        ("Sun shines at 5", "Sun shines at five", "the rules say 'Sunday'"),
        ("the 1990s and 2020s", "the nineteen nineties and twenty twenties", "the rules say 'seconds'"),
        ("open 24/7", "open twenty four seven", "the rules say 'twenty four sevenths'"),
        ("on A4 paper", "on A four paper", "one letter and a digit is no reason to read Chinese"),
        ("打印在5 paper上", "打印在五 paper上", "the rules see pascals in '5 pa'"),
        ("Two  spaces and 1\ttab\n\nhere", "Two spaces and one tab here", "the rules raise on double spaces"),
        ('say "5" \\ now', "say 'five' \\ now", "the rules escape quotes and backslashes"),
        ("from -5 to +20", "from negative five to plus twenty", "the rules raise on a leading plus"),
        ("pages 3–5 {x}", "pages three-five 'x'", "a dash that the model does not know"),
    ],
)
def test_what_the_rules_misread(upstream: TextNormalizer, text: str, spoken: str, reason: str) -> None:
    assert upstream.normalize(text) == spoken, reason


def test_punctuation_is_what_the_model_knows(normalizer: TextNormalizer) -> None:
    assert normalizer.normalize("“一”、二；《三》……四——五！？") == "'一',二,'三'…四--五!?"


@pytest.mark.parametrize("text", ["", " ", "\n\t \u3000", "\u200b"])
def test_blank_text_is_empty(normalizer: TextNormalizer, text: str) -> None:
    assert normalizer.normalize(text).strip("\u200b") == ""


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello 5", "en"),
        ("Hello 5 你好", "zh"),
        ("12:30", "zh"),
        ("foo@bar.com", "zh"),
        ("say ni3", "zh"),
        ("beta2 voice3 A4", "en"),
    ],
)
def test_language_of_upstream(upstream: TextNormalizer, text: str, language: str) -> None:
    assert upstream.language_of(text) == language


@pytest.mark.parametrize(
    ("text", "heard", "language"),
    [
        ("12:30", None, "zh"),
        ("12:30", "en", "en"),
        ("foo@bar.com", None, "en"),
        ("foo@bar.com", "zh", "zh"),
        ("XK2", None, "en"),
        ("A4 5 kg", "zh", "zh"),
        ("say ni3", None, "zh"),
        ("Hello 5 你好", None, "zh"),
        ("你好。 It is 5.", None, "en"),
        ("It is 5. 你好", None, "zh"),
        ("", "en", "en"),
    ],
)
def test_language_of_the_end(normalizer: TextNormalizer, text: str, heard: Language | None, language: Language) -> None:
    assert normalizer.language_of(text, heard) == language


def test_traditional_and_full_width_are_read_as_upstream_reads_them(upstream: TextNormalizer) -> None:
    assert upstream.normalize("我們明天去臺灣，請記得帶護照。") == "我们明天去台湾,请记得带护照."
    assert upstream.normalize("第7章，，，雨停了") == "第七章…雨停了"
    assert upstream.normalize("第ＡＢＣ１２") == upstream.normalize("第ABC12")


def test_a_model_of_one_language_has_its_rules_only() -> None:
    english = TextNormalizer(TextConfig(("en",), "lower", False), kind="upstream")
    assert english.normalize("12:30") == "twelve thirty"
    assert english.language_of("你好") == "en"
    assert "你好" in english.normalize("say 你好 5 times")


def test_glossary_comes_before_the_rules() -> None:
    glossary = Glossary.from_dict({"M.2": {"en": "M dot 2"}})
    assert TextNormalizer(CONFIG, glossary).normalize("an M.2 disk") == "an M dot two disk"


def test_a_glossary_term_may_hold_what_is_protected() -> None:
    glossary = Glossary.from_dict({"F5-TTS": "eff five"})
    assert TextNormalizer(CONFIG, glossary).normalize("F5-TTS and GPT-5") == "eff five and GPT-five"


def test_private_use_characters_are_not_taken_for_protected_ones(
    normalizer: TextNormalizer, upstream: TextNormalizer
) -> None:
    assert normalizer.normalize("a\ue041b 第5\ue02d") == "a\ufffdb 第五\ufffd"
    for one in (normalizer, upstream):
        assert one.normalize("a<H>b 5") != one.normalize("a-b 5")


def test_our_readings_load_no_rules_of_upstream() -> None:
    def load(language: str) -> None:
        raise AssertionError(f"{language} rules loaded")

    ours = TextNormalizer(CONFIG, rules=NumberRules(load))  # type: ignore[arg-type]
    assert ours.normalize("It is 5 kg. 我有2个。") == "It is five kilograms. 我有两个."


def test_plain_english_and_chinese_load_no_rules() -> None:
    def load(language: str) -> None:
        raise AssertionError(f"{language} rules loaded")

    plain = TextNormalizer(CONFIG, rules=NumberRules(load), kind="upstream")  # type: ignore[arg-type]
    for text in (
        "The quick brown fox jumps over the lazy dog. Why not, then?",
        "你好，世界。",
        "It's Monday, I think.",
    ):
        assert plain.normalize(text)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(UsageError, match="languages"):
        TextConfig(("fr",), "upper", True)
    with pytest.raises(UsageError, match="languages"):
        TextConfig((), "upper", True)
    with pytest.raises(UsageError, match="case"):
        TextConfig(("en",), "title", True)
