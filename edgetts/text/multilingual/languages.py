"""The model's languages, as ids and as prefixes of a text, and those with reading rules.

Source: facts of upstream's `indextts/utils/tokenizer.py`, whose list is Whisper's with dialects of Chinese after it.
"""

from __future__ import annotations

from edgetts.text.config import Language
from edgetts.text.readings.rule import words

SPOKEN: tuple[Language, ...] = ("zh", "en", "ja", "es", "ar")  # with reading rules
NAMES: dict[Language, str] = {"zh": "Chinese", "en": "English", "ja": "Japanese", "es": "Spanish", "ar": "Arabic"}

CODES = tuple(
    words(
        "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt "
        "la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc "
        "ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue minnan wuyu "
        "dialect zh/en en/zh common"
    )
)
N_TOKENS = 99  # of the codes have a special token
TOKENS = CODES[:N_TOKENS]
_COMMON = "common"


def language_id(code: str) -> int:
    """The row of `code` in the language table, ignoring letter case; of an unknown code, that of `common`."""
    known = code.lower() if code.lower() in CODES else _COMMON
    return CODES.index(known)


def prefix(code: str) -> str:
    """The prefix of a segment's text."""
    return f"<|{code.lower()}|> "
