"""The licenses of published models: shown, and agreed to. `edgetts download` and `edgetts setup` use it.

In: licenses by repository. Out: nothing, or an error that says what to do. Nothing is fetched before.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgetts.cli.setup.ask import can_ask, confirm, tell
from edgetts.errors import DownloadError, UsageError, one_line

LICENSE_LINK = "https://github.com/index-tts/index-tts/blob/main/LICENSE"
LICENSE_NOTICE = (
    "The IndexTTS weights belong to bilibili and come under its Model Use License Agreement, which is not a license of "
    "this program. In short, and without replacing the text: they may be used free of charge, but not for what the law "
    "forbids, nor to improve other AI models than non-commercial ones; companies with more than 100 million users a "
    "month or 1 billion RMB of revenue a year need a license of their own; what is converted from them, smaller packs "
    "included, is a derivative and stays under the same terms. Read it before you agree:",
    LICENSE_LINK,
    "The other models come under the licenses of their publishers, some of which exclude commercial use:",
)


def agree(licenses: Mapping[str, str], *, accepted: bool, flag: str) -> None:
    """Show the licenses and ask for agreement. accepted: given by `flag`, so only show them.

    Raises UsageError without a terminal, DownloadError if declined.
    """
    for paragraph in LICENSE_NOTICE:
        tell(paragraph)
    for repository, license in licenses.items():
        tell(f"    {one_line(repository)}: {one_line(license)}", indent=" " * 8)
    if accepted:
        return
    if not can_ask():
        raise UsageError(f"The licenses above must be agreed to: run the same command with {flag} if you do.")
    if not confirm("Do you agree to these licenses?", default=False):
        raise DownloadError("Nothing was downloaded: the licenses were not agreed to.")
