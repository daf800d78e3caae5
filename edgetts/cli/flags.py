"""Messages of the library, which speak of arguments, in the words of the command line, which has options.

In: a sentence with `seed=` or `format=` in it. Out: the same with `--seed` and `--format`. An argument is written with
a bare equals sign only where its name is meant; where a value follows, it is left alone.
"""

from __future__ import annotations

import re

# Options that are not called like their argument.
_OTHER_NAMES = {
    "n_beams": "--beams",
    "n_steps": "--steps",
    "prompt_s": "--prompt-seconds",
    "guards": "--no-guards",
    "replace": "--force",
}
_TO_A_FILE = "write the speech to a file"  # where nothing can play
_ARGUMENT = re.compile(r"(?<![\w-])([a-z][a-z_]+)=(?=[\s,.;:)]|$)")


def with_flags(message: str) -> str:
    """`message` with the options of the command line in place of arguments."""
    message = message.replace(_TO_A_FILE, f"{_TO_A_FILE} with `-o FILE`")
    return _ARGUMENT.sub(lambda m: _OTHER_NAMES.get(m[1], "--" + m[1].replace("_", "-")), message)
