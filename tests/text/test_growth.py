"""The front end's work grows in proportion to the text, whatever it is made of: counted, not timed.

Counted are calls, characters given to patterns, and characters given to the number rules, whose transducers take about
as long for one as RULES_WORK calls do.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable
from importlib import import_module

import pytest
from helpers.growth import KINDS, counting, text_of
from helpers.small_tokenizer import CONFIG

import edgetts.text
from edgetts.text import rules
from edgetts.text.frontend import TextFrontend
from edgetts.text.normalize import TextNormalizer
from edgetts.text.rules import NumberRules
from edgetts.text.tokenizer import TextTokenizer
from edgetts.text.traced import TracedText

MODULES = [import_module(found.name) for found in pkgutil.walk_packages(edgetts.text.__path__, "edgetts.text.")]
RULES_WORK = 500
MOST_PER_CHARACTER = 430  # tens of patterns look for signs and numbers
MOST_PER_LINE = 70  # of few characters: each is a text of its own, but there are not many different ones
MOST_PER_MARK = 165  # signs alone say nothing that number rules could read


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_work_is_in_proportion_to_the_text(
    tokenizer: TextTokenizer, kind: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [0]
    substitute = TracedText.substitute

    def counted_substitute(text: TracedText, pattern: re.Pattern[str], replace: Callable[..., str]) -> TracedText:
        given[0] += len(text)
        return substitute(text, pattern, replace)

    def load(language: str) -> Callable[[str], str]:
        rule = rules._load_wetext(language)  # type: ignore[arg-type]

        def counted_rule(text: str) -> str:
            given[0] += RULES_WORK * len(text)
            return rule(text)

        return counted_rule

    monkeypatch.setattr(TracedText, "substitute", counted_substitute)
    frontend = TextFrontend(tokenizer, normalizer=TextNormalizer(CONFIG, rules=NumberRules(load)))
    frontend.segments("5 km", language=language)  # type: ignore[arg-type]  # loads the rules

    def work(n: int) -> int:
        given[0] = 0
        with counting(*MODULES) as counted:
            frontend.segments("Hello " + text_of(kind, n), language=language)  # type: ignore[arg-type]
            return counted() + given[0]

    few, many = work(1_000), work(2_000)
    assert many < 2.3 * few + 10_000
    has_words = any(char.isalnum() for char in KINDS[kind])
    most = MOST_PER_LINE if "lines" in kind else MOST_PER_CHARACTER if has_words else MOST_PER_MARK
    assert many < most * 2_000
