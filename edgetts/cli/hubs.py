"""Which hub a download comes from: the flags and environment variables of the verbs that download.

In: the values of --source and --mirror. Out: a hub, and the one for what it lacks. Imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgetts.cli.environment import Environment
from edgetts.errors import UsageError

if TYPE_CHECKING:
    from edgetts.quant.hub import Hub

HUGGING_FACE, MODELSCOPE = "huggingface", "modelscope"
SOURCES = (HUGGING_FACE, MODELSCOPE)

MirrorOption = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        metavar="URL",
        help="Hub to download from instead of the source's own address. Default: $HF_ENDPOINT, $MODELSCOPE_ENDPOINT.",
        show_default=False,
    ),
]


def hubs(source: str, mirror: str | None, known: Environment) -> tuple[Hub, Hub | None]:
    """The hub to ask, and another for models that it does not have. Raises UsageError."""
    from edgetts.quant.hub import Hub
    from edgetts.quant.modelscope import ModelScope

    if source == HUGGING_FACE:
        return Hub(mirror if mirror is not None else known.hub_endpoint), None
    if source == MODELSCOPE:
        own = ModelScope(mirror if mirror is not None else known.modelscope_endpoint, known.modelscope_token)
        return own, Hub(known.hub_endpoint)
    raise UsageError(f"--source is {source!r}; allowed are {' and '.join(SOURCES)}.")
