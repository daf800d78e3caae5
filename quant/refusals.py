"""The message for a hub that refuses, fails or cannot be reached: one sentence with the next step.

In: the exception of a request, and what was asked for. Out: the sentence. `hub` and `modelscope` make the requests.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

RETRY_AFTER = "retry-after"  # header: seconds to wait
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _PROXY_LOGIN, _TOO_MANY = 401, 403, 404, 407, 429
_SERVER_ERROR = 500
_SECONDS = re.compile(r"\d{1,6}")
_MINUTE_S = 60


@dataclass(frozen=True)
class Place:
    """A hub, as messages speak of it. page: address of a repository's page. login: how to log in to it."""

    endpoint: str
    page: Callable[[str], str]
    login: str


def sentence(error: BaseException, place: Place, name: str, revision: str, path: str) -> str:
    """name, revision: of the repository. path: of the file; "" for the list of files."""
    from huggingface_hub import errors

    endpoint, login = place.endpoint, place.login
    what = f"{path} of {name}" if path else name
    status = status_of(error)
    reason = f"HTTP {status}" if status else " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"{what} cannot be fetched: HF_HUB_OFFLINE forbids downloads; unset it and run again."
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{name} is given only to those who agreed to its terms (HTTP {status}): agree on "
            f"{place.page(name)}, then {login}, and run again."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name} has no revision {revision!r}: give a branch, a tag or a commit as revision=."
    if isinstance(error, errors.EntryNotFoundError):
        return f"{endpoint} has no file {what} (revision {revision}): try another revision= or endpoint=."
    if is_missing(error):
        return (
            f"{endpoint} has no {what} (HTTP {status}), or hides it from you: check the address of the "
            f"mirror (endpoint=), or look at {place.page(name)}."
        )
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        return (
            f"{endpoint} refuses {what} (HTTP {status}): {login} (a token that has expired counts as none), and see "
            f"whether {place.page(name)} asks for agreement."
        )
    if status == _PROXY_LOGIN or type(error).__name__ == "ProxyError":
        return f"The proxy refuses {endpoint} ({reason}): check HTTPS_PROXY and its password."
    if status == _TOO_MANY:
        return f"{endpoint} limits the rate (HTTP {status}): run the same command again in {_wait_of(error)}."
    if status >= _SERVER_ERROR:
        return f"{endpoint} failed with HTTP {status} for {what}: run the command again later."
    if status:
        return f"{endpoint} refuses {what} (HTTP {status}): check the address of the mirror (endpoint=)."
    if path:
        return (
            f"The connection broke while fetching {what} ({reason}): run the same command again; it continues "
            "where it stopped."
        )
    return (
        f"{endpoint} cannot be reached ({reason}): check the network and HTTPS_PROXY, or set a mirror with endpoint=."
    )


def status_of(error: BaseException) -> int:
    """HTTP status of an error; 0 without a response."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def is_missing(error: BaseException) -> bool:
    """Whether the hub has no such repository, or does not show it."""
    from huggingface_hub import errors

    if isinstance(error, (errors.GatedRepoError, errors.RevisionNotFoundError, errors.EntryNotFoundError)):
        return False
    return isinstance(error, errors.RepositoryNotFoundError) or status_of(error) == _NOT_FOUND


def retry_after_s(error: BaseException) -> float:
    """Seconds that the hub asks to wait; 0 if it does not say. A date, which hubs do not send, counts as nothing."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    found = str(headers.get(RETRY_AFTER, "")).strip()
    return float(found) if _SECONDS.fullmatch(found) else 0.0


def _wait_of(error: BaseException) -> str:
    seconds = retry_after_s(error)
    if not seconds:
        return "some minutes"
    return f"{seconds:.0f} s" if seconds <= _MINUTE_S else f"{math.ceil(seconds / _MINUTE_S)} minutes"
