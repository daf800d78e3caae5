"""Markdown is read without its marks, however it arrives, and ordinary text stays as it is."""

from __future__ import annotations

import itertools

import pytest
from helpers.growth import KINDS, counting, text_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgetts.text import markdown as markdown_module
from edgetts.text import markdown_inline
from edgetts.text.frontend import TextFrontend
from edgetts.text.markdown import MAX_HELD_CHARS, MarkdownStripper, strip_markdown
from edgetts.text.traced import TracedText

MARKS = {"\u2028": "|", "\u2029": "||"}


def shown(text: str, *, markup: bool = False) -> str:
    """What is left, with | for the end of a line and || for that of a block."""
    return "".join(MARKS.get(char, char) for char in strip_markdown(text, markup=markup).text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**milk** and *eggs* and ***both***", "milk and eggs and both"),
        ("_milk_ and __eggs__, ~~not~~ bread", "milk and eggs, not bread"),
        ("**Note:** this", "Note: this"),
        ("**bold**text and (*so*)", "boldtext and (so)"),
        ("这是**重点**内容，**“好”**吗", "这是重点内容，“好”吗"),
        ("a line\n*and* one", "a line\nand one"),
        ("# Title\nText", "Title||Text"),
        ("Text\n## Title ##\nText", "Text\n||Title ||Text"),
        ("Title\n=====\nText\n---\nMore", "Title\n||Text\n||More"),
        ("One\n\n* * *\n\nTwo", "One\n\n||\nTwo"),
        ("- milk\n- **eggs**\n* [ ] bread\n+ [x] salt", "milk\n|eggs\n|bread\n|salt"),
        ("- an item that\n  goes on\n- next", "an item that\n  goes on\n|next"),
        ("1. Milk\n2) Eggs", "1, Milk\n|2, Eggs"),
        ("> a quotation\n> of two lines", "a quotation\nof two lines"),
        ("> - in\n>> deep", "in\ndeep"),
        ("see [the page](https://a.b/c_d 'Title') now", "see the page now"),
        ("[**bold** text](<a b>), [a][b], [c][]", "bold text, a, c"),
        ("[wiki](https://en.wikipedia.org/wiki/Ada_(name)).", "wiki."),
        ("![a *cat*](cat.png) sleeps", "a cat sleeps"),
        ("[![badge](b.svg)](https://ci)!", "badge!"),
        ("<https://a.b/c> and <me@a.b>", "https://a.b/c and me@a.b"),
        ("[name]: https://a.b/c\nText", "Text"),
        ("so it is[^1].\n[^1]: Note", "so it is.\n: Note"),
        ("use `snake_case` and ``a`b``", "use snake_case and a`b"),
        ("Run:\n```bash\nls *.py  # all\n\nmake\n```\nDone", "Run:\n||ls *.py  # all||make|||Done"),
        ("~~~\n# no heading\n~~~", "# no heading|||"),
        ("| a | b |\n|---|:-:|\n| 1 | **2** |\nText", "a, b|1, 2|Text"),
        ("a | b\n--- | ---\n1 | 2", "a , b\n1 , 2"),
        ("AT&amp;T &lt;x&gt; &#39;so&#x27; &mdash;", "AT&T <x> 'so' —"),
        ("one\\\ntwo  \nthree", "one|two  |three"),
        (r"\*not\* \# \_so\_", "*not* # _so_"),
        ("a<br>b <b>c</b><!-- no --> <p>d</p>", "a|b c ||d||"),
    ],
)
def test_marks_are_left_out(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 * 4 and 2*3*4 and x**2",
        "snake_case, a_b and some_long_name_",
        "#5 and #hashtag",
        "-5 degrees",
        "~50 or 3 ~ 4",
        "a < b and c > d, x <3 y",
        "[1] and [sic] and [pause:1.5]",
        "AT&T, A & B, &nosuch;",
        "Name: ____ and 5*",
        "In the year\n5. Then it rained",
        "2024. A good year",
        "C:\\temp and \\n",
        "yes | no",
        "one|two",
        'Hello! What? "Yes!"',
        "<speak>Hello</speak> <break time='1s'/>",
        "It rained... - and so on -- at last",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert shown(text) == text.replace("yes | no", "yes , no")


def test_tags_are_left_to_markup() -> None:
    text = "**One** <break time='1s'/> [pause:1.5] <p>two</p>"
    assert shown(text, markup=True) == text.replace("**", "")


def in_pieces(text: str, sizes: list[int], *, markup: bool = False) -> TracedText:
    stripper, found, at = MarkdownStripper(markup=markup), list[TracedText](), 0
    for size in itertools.cycle(sizes):
        found.append(stripper.push(text[at : at + size]))
        assert stripper.held <= MAX_HELD_CHARS
        at += size
        if at >= len(text):
            return TracedText.join([*found, stripper.finish()])
    raise AssertionError


MARKS_OF_MARKDOWN = "- * ** _ __ # ## > ` ``` ~~ ~~~ ]( ![ --- === &amp; <b> <!-- --> 2."
SOMETHING = st.lists(
    st.sampled_from([*MARKS_OF_MARKDOWN.split(), *"ab1[])!:|&<>.字\n\\", "\n\n"])
    | st.sampled_from(
        ["“", "”", "\r\n", " ", "  ", "[a](b)", "- [ ] ", "1. ", "```\n", "| a | b |\n", "**bold**", "    "]
    ),
    max_size=30,
).map("".join)


@example(">\r\n", [1], False)
@example("> \r\n>\r\n>a", [1, 2], True)
@settings(max_examples=300, deadline=None)
@given(SOMETHING, st.lists(st.integers(1, 9), min_size=1, max_size=5), st.booleans())
def test_pieces_change_nothing_and_offsets_hold(text: str, sizes: list[int], markup: bool) -> None:
    whole = strip_markdown(text, markup=markup)
    assert in_pieces(text, sizes, markup=markup) == whole
    assert list(whole.origins) == sorted(whole.origins)
    assert all(0 <= origin < len(text) for origin in whole.origins)
    assert [char for char in whole.text if char.isalnum()] == [
        text[origin] for char, origin in zip(whole.text, whole.origins, strict=True) if char.isalnum()
    ]


@settings(deadline=None)
@given(st.text(alphabet="abc .,?\n", max_size=60))
def test_text_without_marks_is_the_same(text: str) -> None:
    kept = strip_markdown(text)
    assert [c for c in kept.text if not c.isspace()] == [c for c in text if not c.isspace()]


def test_a_sentence_is_not_held_back() -> None:
    stripper = MarkdownStripper()
    assert stripper.push("**Hello** there, *my ").text == "Hello there, my "
    assert stripper.push("friend*. ").text == "friend. "
    assert stripper.push("And [a link](").text == "And "
    assert stripper.push("https://a.b/c) so").text == "a link so"


@pytest.mark.parametrize("kind", [*KINDS, "stars", "links", "ticks", "headings", "rows", "entities"])
@pytest.mark.parametrize("size", [1, 100_000])
def test_work_is_in_proportion_to_the_text(kind: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"stars": "*a", "links": "[a", "ticks": "`", "headings": "# ", "rows": "| ", "entities": "&amp"}
    monkeypatch.setattr("helpers.growth.KINDS", {**KINDS, **more})

    def work(n: int) -> int:
        with counting(markdown_module, markdown_inline) as counted:
            in_pieces("Hi " + text_of(kind, n), [size])
            return counted()

    few, many = work(8_000), work(16_000)
    assert many < 2.4 * few


def test_offsets_of_segments_are_those_of_the_text_as_written(frontend: TextFrontend) -> None:
    text = "# **Hello** world\n\nThe [world](https://a.b) is *hello*."
    plan = frontend.segments(text, markdown=True)
    assert [(s.text, s.written, text[s.start : s.end].strip()) for s in plan.segments] == [
        ("Hello world", "Hello world", "Hello** world"),
        ("The world is hello.", "The world is hello.", "The [world](https://a.b) is *hello*."),
    ]
