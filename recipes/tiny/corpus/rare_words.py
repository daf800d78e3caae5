"""Stage `rare_words`: sentences for `make_corpus` with words, names and numbers that ordinary sentences lack.

In: the pack's lexicon, frequencies of words (package `wordfreq`) and their parts of speech (package `textblob`, the
table of Brill's tagger). Out: a file of texts, one a line, with numbers spelled out as the front end does it. They are
grammatical, not meaningful: the GPT learns sequences of phones, and a few thousand quotations have few of them. A fifth
of the texts are one to three words, a quarter have numbers.

    pip install wordfreq textblob
    python -m recipes.tiny.corpus.rare_words --lexicon edgetts/builtin/tiny/lexicon.txt --count 2000 --out rare.txt
"""

from __future__ import annotations

import argparse
import importlib.util
import re
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np

from edgetts.text.lexicon import Lexicon
from edgetts.text.normalize import TextNormalizer
from recipes.tiny.corpus.text import TEXT_CONFIG

ZIPF = (2.5, 5.2)  # frequency of the words of sentences: base-10 logarithm of occurrences in 10^9 words
COMMON_ZIPF = 4.3  # least frequency of words said alone
N_COMMON = 4000
LETTERS = (3, 14)  # fewest and most of a word
TAGS = ("NN", "NNS", "JJ", "RB", "VBD", "NNP")
ALONE, NUMBERS, ACRONYMS = 0.2, 0.25, 0.05  # shares of texts
MONTHS = [date(2000, month, 1).strftime("%B") for month in range(1, 13)]
ACRONYM_LETTERS = "ABCDEFGHIKLMNOPRSTUVWXYZ"

SENTENCES = (
    "The <JJ> <NN> <VBD> the <NNS>.",
    "The <NN> <VBD> the <JJ> <NN>.",
    "<NNP> <VBD> a <JJ> <NN>.",
    "<NNP> <VBD> the <NN> of <NNP>.",
    "<NNP> <RB> <VBD> the <JJ> <NNS>.",
    "<JJ> <NNS> <VBD> the <NN> beneath the <NN>.",
    "<NNS> and <NNS> <VBD> a <NN>, and <NNP> <VBD> the <NN>.",
    "Our <NN> <VBD> <RB> in <NNP>.",
    "Her <NN> was <JJ>, but his <NNS> were <JJ>.",
    "Why was the <NN> so <JJ>?",
    "Has <NNP> ever seen a <JJ> <NN> with <NNS>?",
    "What a <JJ> <NN>!",
    "Professor <NNP> and Miss <NNP> <VBD> this <NN>.",
    "<NNP>'s <NN> <VBD> between <NNP> and <NNP>.",
    "They <VBD> an <JJ> <NN>; we <VBD> <NNS>.",
)
NUMBER_SENTENCES = (
    "The <NN> <VBD> <count> <NNS>.",
    "<NNP> <VBD> <count> <NNS> in <small> days.",
    "<count> <NNS> and <small> <NNS> <VBD> the <NN>.",
    "The <NN> costs <money>.",
    "<NNP> was born on <date>, <year>.",
    "The <JJ> <NN> closed in <year>.",
    "The <NN> leaves <NNP> at <time>.",
    "About <small> percent of the <NNS> are <JJ>.",
    "Room <count> is beside <NN> <small>.",
    "It was the <ordinal> <NN> of <NNP>.",
    "The <NN> weighs <decimal> kilograms.",
)
ACRONYM_SENTENCES = (
    "The <ACRONYM> <VBD> the <NN>.",
    "<NNP> <VBD> an <ACRONYM> <NN>.",
    "Gate <LETTER> <small> is for the <NNS>.",
)
ALONE_TEXTS = (
    "<word>.",
    "<word>.",
    "<word>?",
    "<word>!",
    "<JJ> <NN>.",
    "<NNP>.",
    "<NN>, <word>.",
    "The <NN>!",
    "<small>.",
)
_SLOT = re.compile(r"<(\w+)>")
_ARTICLE = re.compile(r"\b([Aa])n? (?=([A-Za-z]))")


def tagged_words(table: Path, lexicon: Lexicon, zipf: Callable[[str], float]) -> dict[str, list[str]]:
    """Words by part of speech, each under its most frequent one, the more frequent words first."""
    found: dict[str, list[str]] = defaultdict(list)
    tags = dict(line.split(" ")[:2] for line in table.read_text(encoding="utf-8").splitlines() if " " in line)
    for word, tag in tags.items():
        if tag not in TAGS or not (word.isascii() and word.isalpha() and LETTERS[0] <= len(word) <= LETTERS[1]):
            continue
        is_name = word.istitle() and word.lower() not in tags
        has_form = is_name if tag == "NNP" else word.islower()
        is_known = has_form and lexicon.phones(word.upper()) is not None
        if is_known and ZIPF[0] <= zipf(word.lower()) <= ZIPF[1]:
            found[tag].append(word)
    return {tag: sorted(words, key=lambda w: -zipf(w.lower())) for tag, words in found.items()}


class Deck:
    """Draws words without repetition until all were drawn, the more frequent ones sooner."""

    def __init__(self, words: list[str], generator: np.random.Generator) -> None:
        self.words, self.generator = words, generator
        self.left: list[str] = []

    def draw(self) -> str:
        if not self.left:
            order = np.arange(len(self.words)) + self.generator.uniform(0, 3 * len(self.words), len(self.words))
            self.left = [self.words[i] for i in np.argsort(-order)]
        return self.left.pop()


class Texts:
    """Makes texts. words: by part of speech; common: frequent words, to be said alone."""

    def __init__(self, words: dict[str, list[str]], common: list[str], seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.decks = {tag: Deck(known, self.generator) for tag, known in {**words, "word": common}.items()}

    def one(self) -> str:
        """A text: alone, with numbers, with an acronym, or a plain sentence."""
        kinds = (ALONE_TEXTS, NUMBER_SENTENCES, ACRONYM_SENTENCES, SENTENCES)
        shares = (ALONE, NUMBERS, ACRONYMS, 1 - ALONE - NUMBERS - ACRONYMS)
        templates = kinds[self.generator.choice(len(kinds), p=shares)]
        text = _SLOT.sub(lambda slot: self._fill(slot[1]), str(self.generator.choice(templates)))
        text = _ARTICLE.sub(lambda a: a[1] + ("n " if a[2].lower() in "aeio" else " "), text)
        return text

    def _fill(self, slot: str) -> str:
        if slot in self.decks:
            return self.decks[slot].draw()
        integer = self.generator.integers
        match slot:
            case "count":
                n = int(10 ** self.generator.uniform(0.5, 4))
                return f"{n * 1000 if n < 100 and integer(4) == 0 else n:,}"
            case "small":
                return str(integer(2, 100))
            case "ordinal":
                return ordinal(int(integer(2, 32)))
            case "money":
                return f"${integer(2, 900)}" + (f".{integer(10, 99)}" if integer(2) else "")
            case "date":
                return f"{self.generator.choice(MONTHS)} {ordinal(int(integer(1, 29)))}"
            case "year":
                return str(integer(1500, 2030))
            case "time":
                return f"{integer(1, 13)}:{integer(10, 60)}"
            case "decimal":
                return f"{integer(1, 30)}.{integer(1, 10)}"
            case "LETTER":
                return str(self.generator.choice(list(ACRONYM_LETTERS)))
            case "ACRONYM":
                return "".join(self.generator.choice(list(ACRONYM_LETTERS), int(integer(2, 4))))
        raise ValueError(f"No such slot: {slot}")


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, ... of a number below 100."""
    ending = "th" if n // 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def table_of_tags() -> Path:
    """The tagger's table in the installed package `textblob`. Raises SystemExit with the command that installs it."""
    found = importlib.util.find_spec("textblob")
    if found is None or found.origin is None:
        raise SystemExit("Parts of speech are missing: pip install textblob")
    return Path(found.origin).parent / "en" / "en-lexicon.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lexicon", type=Path, required=True, help="lexicon.txt of a pack or work folder")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    try:
        from wordfreq import top_n_list, zipf_frequency
    except ImportError:
        raise SystemExit("Frequencies of words are missing: pip install wordfreq") from None

    lexicon = Lexicon(args.lexicon)
    words = tagged_words(table_of_tags(), lexicon, lambda word: float(zipf_frequency(word, "en")))
    common = [w for w in top_n_list("en", N_COMMON) if w.isascii() and w.isalpha() and lexicon.phones(w.upper())]
    common = [w for w in common if zipf_frequency(w, "en") >= COMMON_ZIPF]
    texts = Texts(words, common, args.seed)
    spelled_out = TextNormalizer(TEXT_CONFIG).normalize
    made = [spelled_out(texts.one()) for _ in range(args.count)]
    made = [text[0].upper() + text[1:] for text in made]
    args.out.write_text("\n".join(made) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
