from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from edgetts.text.traced import TracedText

TEXT = st.text(alphabet="ab 12三,", max_size=30)


def check(traced: TracedText, length: int) -> None:
    assert len(traced.text) == len(traced.origins)
    assert list(traced.origins) == sorted(traced.origins)
    assert all(0 <= origin < max(length, 1) for origin in traced.origins)


def test_a_substitution_points_at_what_it_replaced() -> None:
    traced = TracedText.of("on 12 may").substitute(re.compile(r"\d+"), lambda _: "twelve")
    assert traced.text == "on twelve may"
    assert traced.origins == (0, 1, 2, 3, 3, 3, 4, 4, 4, 5, 6, 7, 8)


def test_translation_may_lengthen_and_shorten() -> None:
    traced = TracedText.of("aßb", start=7).translate({ord("ß"): "ss", ord("b"): ""})
    assert (traced.text, traced.origins) == ("ass", (7, 8, 8))


def test_rewriting_is_aligned_at_what_stayed() -> None:
    traced = TracedText.of("at 3:30 we go").rewritten("at three thirty we go")
    assert traced.origins[traced.text.index("we")] == 8
    assert traced.origins[traced.text.index("three")] == 3


@given(TEXT, TEXT, st.sampled_from(["", "x", "yyy"]))
def test_offsets_never_decrease(before: str, after: str, new: str) -> None:
    traced = TracedText.of(before)
    check(traced.substitute(re.compile("a+|1"), lambda _: new), len(before))
    check(traced.translate({ord("a"): new}), len(before))
    check(traced.rewritten(after), len(before))
    assert traced.rewritten(after).text == after
    assert TracedText.join([traced.slice(0, 3), traced.slice(3, len(before))]) == traced
