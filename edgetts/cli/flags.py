"""Replaces argument names in messages of the library with flags of the command line.

In: a sentence with `seed=` or `format=`. Out: the same with `--seed` and `--format`. Only names with a bare equals sign
are replaced, not those with a value.
"""

from __future__ import annotations

import re

# Flags whose names differ from their argument's.
_OTHER_NAMES = {
    "n_beams": "--beams",
    "n_steps": "--steps",
    "prompt_s": "--prompt-seconds",
    "lookahead_s": "--lookahead",
    "guards": "--no-guards",
    "language": "--lang",
    "replace": "--force",
    "token": "--token-file",
    "endpoint": "--mirror",
}
_PHRASES = {
    "write the speech to a file": "-o FILE",  # where nothing can play
    "without the daemon": "--no-daemon",
    "without a report": "--no-report",
}
_ARGUMENT = re.compile(r"(?<![\w-])([a-z][a-z_]+)=(?=[\s,.;:)]|$)")


def with_flags(message: str) -> str:
    """`message` with flags in place of argument names."""
    for phrase, option in _PHRASES.items():
        message = message.replace(phrase, f"{phrase} (`{option}`)")
    return _ARGUMENT.sub(lambda m: _OTHER_NAMES.get(m[1], "--" + m[1].replace("_", "-")), message)
