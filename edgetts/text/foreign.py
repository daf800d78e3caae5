"""Detects European languages that the model does not speak, which it would read by English rules.

In: a text, and the languages of the model. Out: the name of another language, or None. Counts function words, which
make up at least a fifth of any prose; too few give None. Other scripts need no detection: their characters are unknown
to the model and reported as such.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgetts.text.foreign_scripts import spoken_languages

MIN_HITS = 3
MIN_DISTINCT = 2  # "Ha ha ha" is laughter in any language
MIN_SHARE = 0.2  # of all words
MAX_SHORT_WORDS = 12  # of a short text, which is judged only if it has no English function word
SHORT_HITS = 2  # words that occur in no English text; one if there is also a character of the language
SHORT_SHARE = 0.3
MAX_WORDS = 400  # from the start of the text, a page
_SHORT_CHARACTERS = 400  # of a short text
_WORD = re.compile(r"[^\W\d_]+")

# Frequent function words, by language.
_SMALL_WORDS = {
    "German": "und nicht ist der das ich wir sie ein eine einen einem mit auf für wie geht guten auch dem sich aber "
    "wenn noch nur oder sind haben heute wird wurde werden nach bei aus vom zum zur ihr ihnen mein dein kein sehr "
    "schon hier wo weil dass über können müssen danke bitte bin bist guten gute tag morgen abend alle zusammen "
    "diese dieser dieses straße",
    "French": "le la les un une des et est dans pour que qui ne pas sur avec plus ce cette ces sont nous vous ils elle "
    "elles je tu mais ou où donc très bien être avoir fait été comme aussi tout du au aux votre notre bonjour merci ça "
    "allez aujourd hui suis parle pourquoi",
    "Spanish": "el los las una unos del y es que en por para con no se su al lo como más pero sus le ya este esta "
    "porque cuando muy sin sobre también hasta hay donde quien desde todo nos ellos estoy está son hola gracias buenos "
    "buenas días cómo estás qué dónde mañana puedo tengo",
    "Italian": "il lo gli una della dello dei delle che di è non per con sono come più ma anche nel nella alla questo "
    "questa mi ti si ho hai ha abbiamo hanno molto bene sempre dove quando perché ciao grazie buongiorno stai",
    "Portuguese": "o os uma não é em para com por mais como mas foi ao ele das tem seu sua ou ser quando muito nos já "
    "está eu também só pelo pela até isso ela entre era depois sem mesmo aos você obrigado bom dos tudo",
    "Dutch": "het een en van ik niet dat je wij zijn op te met voor er maar om hem dan zou wat nog naar heeft hebben "
    "ook wordt geen goed deze uit bij zo haar daar veel moet hier waar onze dank",
}
_ENGLISH = (
    "the of and to is that it for was are with you this be have from not by they we his she at but what when your "
    "which their if will would there been who has had were my me do how our out up all one an"
)
# Words of those above that are also English words or common in names: they do not count in a short text.
_ALSO_ENGLISH_TEXT = (
    "die hat aus nur bin tag mit an am al el los las la le les un une des est dans pour que qui pas sur plus ou "
    "tout du au aux unos del se su si lo y con no son sin sobre para por como come ma mi ti ho ha hai non per di il "
    "gli e o os das dos uma em com mas foi ele tem ser ao sem bom den het een en van is met me op te om hem dan zo "
    "of we je ze wat nog geen mais elle elles tu von der dem ein alle gute morgen una dello dei delle della che nel "
    "wo"
)
# Letters and marks that English has only in loanwords.
_CHARACTERS = {
    "German": frozenset("äöüß"),
    "French": frozenset("çàâèéêëîïôùûœ"),
    "Spanish": frozenset("ñ¿¡áéíóú"),
    "Italian": frozenset("àèéìòù"),
    "Portuguese": frozenset("ãõçàáâéêíóôú"),
    "Dutch": frozenset("ïéó"),
}
_OPENING_MARKS = frozenset("¿¡")  # only Spanish has them
_WORDS = {language: frozenset(words.split()) for language, words in _SMALL_WORDS.items()}
_ENGLISH_WORDS = frozenset(_ENGLISH.split())
_ALSO_ENGLISH = frozenset(_ALSO_ENGLISH_TEXT.split())


def foreign_language(text: str) -> str | None:
    """The English name of the language of `text` if it is certainly one of those above, else None."""
    words = [match.group().casefold() for match, _ in zip(_WORD.finditer(text), range(MAX_WORDS), strict=False)]
    counts = {language: sum(word in known for word in words) for language, known in _WORDS.items()}
    language = max(counts, key=lambda name: counts[name])
    hits = counts[language]
    known = set(words) & _WORDS[language]
    is_distinct = len(known) >= MIN_DISTINCT and bool(known - _ALSO_ENGLISH)
    in_english = sum(word in _ENGLISH_WORDS for word in words)
    is_sure = hits >= MIN_HITS and is_distinct and hits >= MIN_SHARE * len(words) and hits > 2 * in_english
    return language if is_sure else _short_language(text, words)


def _short_language(text: str, words: Sequence[str]) -> str | None:
    """The language of a short text, by words that occur in no English text and by its characters."""
    if not 0 < len(words) <= MAX_SHORT_WORDS or any(word in _ENGLISH_WORDS for word in words):
        return None
    characters = set(text[:_SHORT_CHARACTERS].casefold()) | ({"ß"} if "ß" in text else set())
    if characters & _OPENING_MARKS:
        return "Spanish"
    best, most = None, 0
    for language, known in _WORDS.items():
        hits = len(set(words) & (known - _ALSO_ENGLISH))
        has_character = bool(characters & _CHARACTERS[language])
        enough = hits >= (1 if has_character else SHORT_HITS) and (has_character or hits >= SHORT_SHARE * len(words))
        if enough and hits + has_character > most:
            best, most = language, hits + has_character
    return best


def foreign_notice(text: str, languages: Sequence[str]) -> str | None:
    """A notice for a text in a language that is not in `languages` (`TextConfig.languages`), or None."""
    found = foreign_language(text)
    if found is None:
        return None
    spoken = spoken_languages(languages)
    return f"The text seems to be {found}, but this model speaks only {spoken} and reads the text by those rules."
