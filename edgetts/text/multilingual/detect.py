"""Decides the language of each sentence of a text, of five languages.

In: text, the languages of the model, the language before the text. Out: runs of sentences of one language. Scripts
decide first: kana are Japanese, Arabic letters Arabic, Chinese characters Chinese, unless the text around them is
Japanese and none of them is only Chinese. English and Spanish are distinguished by marks, function words and spellings.
Undecided text (digits, names, "OK") has the language of the text before, or at the beginning that of the text after. A
text without any letters is English, or Chinese if it has a Chinese mark ("12。"). Upstream does not detect languages.
Takes time linear in the text. Other languages are not detected here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgetts.text.config import Language
from edgetts.text.multilingual import pronunciation
from edgetts.text.readings.en_units import UNIT_SIGNS
from edgetts.text.readings.language import Run, add_run, is_toned_syllable, sentence_spans
from edgetts.text.readings.rule import words

_CLOSING = "\"'”’»)）」』】》"
_SENTENCE_END = re.compile(
    rf"[。！？!?؟…\n][{_CLOSING}]{{0,3}}|(?<=[^\W\d_][^\W\d_])\.[{_CLOSING}]{{0,3}}(?=\s)|\.[{_CLOSING}]{{0,3}}(?=\s?[\u3040-\u9fff])"
)
_ARABIC_WORD = re.compile("[\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u064b-\u0652]+")
_ARABIC_DIGIT = re.compile("[\u0660-\u0669\u06f0-\u06f9]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\u30fc\uff66-\uff9d]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff々]")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+(?:['’][A-Za-z]+)?(?![\d²³])")
_LATIN_LETTER = re.compile("[A-Za-z]")
_BRAND_KANA = frozenset("のノ")  # occurs in Chinese names of shops and dishes
_FULL_WIDTH_MARK = re.compile("[。，、：；！？￥]")
_MIN_SHARE = 1.5  # Latin words per character of another script, in a sentence that quotes one
_SYLLABLE = re.compile(r"[A-Za-zü]{2,6}[1-5](?!\w)")
_CHINESE = frozenset(
    "你您她他们們吗嗎呢吧这這哪的了是我很和在"
)  # in a Japanese sentence without kana only in a few words
_SPANISH_MARKS = re.compile("[¿¡ñÑ]")
_SPANISH_SPELLING = re.compile(
    r"[áíóúü]|é(?!s?$|e)|(?:ción|ciones|dad|mente|ando|iendo|ito|ita|aba|amos|emos|imos|ería)$", re.IGNORECASE
)
_ENGLISH_SPELLING = re.compile(
    r"[kw]|th|sh|ck|gh|oo|ee|ea|['’](?:s|t|re|ve|ll|d|m)$|(?:ing|tion|ly|ed|ous|ness)$", re.IGNORECASE
)
_SPANISH = frozenset(
    words(
        "el los las un una unos unas del al y e que en por para con sin sobre se su sus lo le les como más pero "
        "ya este esta estos estas ese esa eso esto porque cuando muy también hasta desde hay donde quien todo "
        "toda todos todas nos ellos ella ellas estoy está están son es era fue ser estar hola gracias buenos "
        "buenas días noches tardes cómo qué quién dónde cuándo mañana puedo puede tengo tiene hoy ayer adiós sí "
        "mi mis tu tus yo él nosotros usted ustedes vamos voy va claro bien mal aquí allí ahora nada algo siempre "
        "nunca hace hacer decir dice quiero quiere gusta señor señora casa año años vez gran grande entre contra "
        "según durante mientras aunque si te me le de la favor perdón bueno buena amigo amiga nuestro nuestra "
        "otro otra mucho mucha muchos muchas poco tres cuatro cinco seis siete ocho nueve diez oye mira euro "
        "euros millón millones mil dólares pesos minutos horas grados"
    )
)
_ENGLISH = frozenset(
    words(
        "the of and to is that it for was are with you this be have from not by they we his she at but what when "
        "your which their if will would there been who has had were my do how our out up all one an i in on as "
        "can could should hello hi thank thanks please yes good morning evening night day today tomorrow "
        "yesterday see know like get make go come want need think about into over after before then than them "
        "these those its so just now here where why some any more most very only first new old two three four "
        "five six seven eight nine ten am did does don't i'm it's let's ok okay sorry great let again back down "
        "never always because through him her us or"
    )
)
_WEAK, _SHORT = 0.3, 3  # what a longer word that ends in a or o says
_LEAST = 0.5  # together
_SHARED = frozenset(words("a me no he has son fin once are sin red"))


def runs(text: str, spoken: Sequence[Language], previous: Language | None = None) -> list[Run]:
    """The runs of `text`, which cover it; none for empty text.

    spoken: the languages of the model. previous: the language before the text.
    """
    if len(spoken) == 1:
        return [Run(0, len(text), spoken[0])] if text else []
    sentences = []
    for start, stop in sentence_spans(text, _SENTENCE_END):
        language, is_sure = language_of(text[start:stop])
        sentences.append((start, stop, language if language in spoken else None, is_sure))
    first = next((language for _, _, language, is_sure in sentences if is_sure and language), None)
    weak = next((language for _, _, language, _ in sentences if language), None)
    current = previous or first or weak or _without_letters(text, spoken)
    found: list[Run] = []
    for start, stop, language, is_sure in sentences:
        if language and (is_sure or _is_news(language, current)):
            current = language
        add_run(found, Run(start, stop, current))
    return found


def _without_letters(text: str, spoken: Sequence[Language]) -> Language:
    """The language of a text in which nothing says it: digits, signs and marks only."""
    likely: Language = "zh" if _FULL_WIDTH_MARK.search(text) else "en"
    return likely if likely in spoken else spoken[0]


def language_of(sentence: str) -> tuple[Language | None, bool]:
    """The language of a sentence and whether that is certain; (None, False) if undecided."""
    sentence = _without_readings(sentence)
    n_arabic = len(_ARABIC_WORD.findall(sentence))
    kana = _KANA.findall(sentence)
    n_han = len(_HAN.findall(sentence))
    latin = _LATIN_WORD.findall(sentence)
    if n_arabic and n_arabic * _MIN_SHARE >= len(latin):
        return "ar", True
    is_japanese = len(kana) > 1 or (kana and (not n_han or kana[0] not in _BRAND_KANA))
    if (kana or n_han) and len(latin) < (len(kana) + n_han) * _MIN_SHARE:
        return ("ja", True) if is_japanese else _chinese_or_japanese(sentence, is_chinese=bool(kana))
    if latin:
        return _latin(sentence, latin)
    if _LATIN_LETTER.search(sentence):
        return "en", False
    return ("ar", False) if _ARABIC_DIGIT.search(sentence) else (None, False)


def _is_news(language: Language, current: Language) -> bool:
    """Whether an uncertain language differs from the one before and is not easily confused with it."""
    return {language, current} not in ({"zh", "ja"}, {"en", "es"})


def _latin(sentence: str, written: Sequence[str]) -> tuple[Language | None, bool]:
    if _SPANISH_MARKS.search(sentence):
        return "es", True
    is_shouted = sentence.isupper()
    lowered = [
        word.lower().replace("’", "'")
        for word in written
        if word not in UNIT_SIGNS and (is_shouted or not word.isupper() or len(word) == 1)
    ]
    english = sum(_weight(word, _ENGLISH, _ENGLISH_SPELLING) for word in lowered)
    spanish = sum(_weight(word, _SPANISH, _SPANISH_SPELLING) for word in lowered)
    spanish += _WEAK * sum(len(word) > _SHORT and word.rstrip("s")[-1:] in ("a", "o") for word in lowered)
    if english == spanish or max(english, spanish) < _LEAST:
        toned = sum(is_toned_syllable(match.group(), None) for match in _SYLLABLE.finditer(sentence))
        return ("zh", True) if toned >= len(written) else ("en", False)
    return ("en" if english > spanish else "es"), abs(english - spanish) >= 1


def _weight(word: str, known: frozenset[str], spelling: re.Pattern[str]) -> float:
    if word in _SHARED:
        return 0.0
    return 1.0 if word in known else 0.5 if spelling.search(word) else 0.0


def _chinese_or_japanese(sentence: str, *, is_chinese: bool) -> tuple[Language, bool]:
    """By the national character sets that have all characters; uncertain Chinese if all of them do."""
    characters = set(_HAN.findall(sentence))
    if is_chinese or characters & _CHINESE or not _encodes(characters, "shift_jis"):
        return "zh", True
    if not _encodes(characters, "gb2312") and not _encodes(characters, "big5"):
        return "ja", True
    return "zh", False


def _encodes(characters: set[str], encoding: str) -> bool:
    try:
        "".join(characters).encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _without_readings(sentence: str) -> str:
    """The sentence with annotations replaced by their words; the readings have no language."""
    if "|" not in sentence:
        return sentence
    parts: list[str] = []
    done = 0
    for annotation in pronunciation.find(sentence):
        parts += [sentence[done : annotation.start], annotation.word]
        done = annotation.stop
    return "".join((*parts, sentence[done:]))
