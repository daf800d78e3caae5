"""Signs of code, paths and chat in English.

In: text whose numbers are mostly words already. Out: the words for arrows, operators, dots before names, plus signs
after names and isolated signs; brackets are separated from adjacent words, so that they are not taken for apostrophes.
"""

from __future__ import annotations

from edgetts.text.readings.rule import CAPITALS, Rule, rule

_ALONE = {"#": "hash", "@": "at", "+": "plus", "=": "equals", "&": "and", "^": "caret", "~": "tilde"}

BEFORE_SIGNS: tuple[Rule, ...] = (
    rule(r"(?<![<\-=]) ?-{1,3}> ?(?=\S)", " to "),
    rule(r"(?<![<\-=]) ?=> ?(?=\S)", " means "),
    rule(r"(?<=[^\s=]) ?={2,3} ?(?=[\w\"'($-])", " equals "),
    rule(r"(?<=[\w)]) ?&& ?(?=[\w(!])", " and "),
    rule(r"(?<=[\w)]) ?\|\| ?(?=[\w(!])", " or "),
    # .NET, .gitignore; and the home folder.
    rule(r"(?:(?<=[\s\"'“‘(`])|(?<![\s\S]))(?<!\. )\.(?=NET\b|[a-z])", "dot ", needs=CAPITALS),
    rule(r"(?<![\w~])~/(?=[\w.])", "tilde slash "),
    rule(r"(?<![\w./])\.{1,2}/(?=\w)", lambda m: "dot " * (len(m.group()) - 1) + "slash "),
    # Disney+, Notepad++, $100K+
    rule(r"(?<=[A-Za-z])\+{1,2}(?![\w+])", lambda m: " plus" * len(m.group())),
)
AFTER_SIGNS: tuple[Rule, ...] = (
    # person(s), f(x), section 3(a)
    rule(r"(?<=[a-z])\((?P<s>e?s)\)", lambda m: m["s"], needs=CAPITALS),
    rule(r"(?<=[\w)])\((?=[\w(])", " (", needs=CAPITALS),
    rule(r"(?<=[\w)])\)(?=\w)", ") ", needs=CAPITALS),
    rule(r"(?<=[\w)\]}])[\[{](?=\w)", " (", needs=CAPITALS),
    rule(r"(?<=\w)[\]}](?=[\w(])", ") ", needs=CAPITALS),
    rule(r"(?<=\w)[\]}]", ")", needs=CAPITALS),
    rule(r"(?<![A-Za-z])(?P<drive>[A-Z]):(?=[\\/])", lambda m: m["drive"] + " colon "),
    rule(r"\\", " backslash "),
    rule(r"(?<!\S)[#@+=&^~](?![^\s.,;:!?])", lambda m: _ALONE[m.group()]),
    rule(r"%", " percent "),
    rule(r"(?<=\w)#(?=\w)", " hash "),
    rule(r"(?<=\w) ?(?<!\|)\|(?!\|) ?(?=\w)", ", "),
)
