"""Validated HTTP responses of a hub: one request, its redirects, and the JSON about a repository.

In: the hub library, an address, and the bytes of a response. Out: a validated response, or `WrongAnswer` with the
reason. Sizes, depths and the number of redirects are bounded. It does not know folders.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from edgetts.errors import DownloadError
from edgetts.pack.strict import printable
from edgetts.quant.part_file import Checksum
from edgetts.quant.refusals import RETRY_AFTER

MAX_REDIRECTS = 10
MAX_ANSWER_BYTES = 16 << 20  # JSON about a repository; published ones have a few KB
OK, PARTIAL_CONTENT = 200, 206
_ERRORS_FROM = 400
_MAX_FILE_BYTES = 1 << 46  # no file has 64 TiB
_COMMIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_MAX_LICENSE_CHARS = 100
_MAX_SHOWN = 120  # characters of foreign text in a message
# Exception names of the library for a redirect to an invalid address.
_NO_ADDRESS = ("InvalidURL", "UnsupportedProtocol", "LocalProtocolError")


class WrongAnswer(Exception):
    """An invalid response; the message says why. is_final: a retry will not help."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


@contextlib.contextmanager
def ask(library: Any, url: str, headers: Mapping[str, str], timeout_s: float) -> Iterator[Any]:
    """The response to a GET request, its body unread. Raises WrongAnswer, and the library's HTTP errors.

    The library's client drops the token when a redirect leads to another host.
    """
    client = library.get_session()
    try:
        request = client.build_request("GET", url, headers=dict(headers), timeout=timeout_s)
        for _ in range(MAX_REDIRECTS + 1):
            response = client.send(request, stream=True, follow_redirects=False)
            request = response.next_request
            if request is None:
                break
            response.close()
        else:
            raise WrongAnswer(f"it redirects more than {MAX_REDIRECTS} times", is_final=True)
    except Exception as error:
        # ValueError: for instance a host name of 300 characters
        if isinstance(error, ValueError) or type(error).__name__ in _NO_ADDRESS or "location header" in str(error):
            raise WrongAnswer(f"it redirects to an invalid address ({_short(error)})", is_final=True) from error
        raise
    try:
        if response.status_code >= _ERRORS_FROM:
            library.utils.hf_raise_for_status(_without_body(response))
        if response.status_code not in (OK, PARTIAL_CONTENT):
            raise WrongAnswer(f"HTTP {response.status_code}, which has no content", is_final=True)
        yield response
    finally:
        response.close()


def read_json(response: Any) -> Any:
    """The body of a response as plain values. Raises WrongAnswer."""
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise WrongAnswer(f"it sends more than {MAX_ANSWER_BYTES >> 20} MiB about a repository")
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise WrongAnswer(f"its response is not JSON: {_short(error)}") from error


def check_content(response: Any, start: int, size: int) -> bool:
    """Whether the response continues at byte `start` of a file of `size` bytes; False if it restarts at 0.

    Raises WrongAnswer for other content.
    """
    headers = response.headers
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise WrongAnswer(f"it sends the file with the content encoding {_short(encoding)}, which was not requested")
    if response.status_code == PARTIAL_CONTENT:
        given = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
        if given is None or int(given[1]) != start or given[3] not in ("*", str(size)):
            raise WrongAnswer(f"it sends another part of the file than from byte {start} of {size}")
        return True
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    length = headers.get("Content-Length", "").strip()
    if kind in ("text/html", "application/xhtml+xml"):
        raise WrongAnswer("it sends a web page, perhaps a login page, instead of the file")
    if length and length != str(size):
        raise WrongAnswer(f"it sends {_short(length)} bytes instead of the {size} published")
    return start == 0


def siblings_of(table: Any) -> dict[str, tuple[int, Checksum]]:
    """Size and checksum of each listed file; files without either are left out."""
    files: dict[str, tuple[int, Checksum]] = {}
    listed = table.get("siblings")
    if not isinstance(listed, list):
        raise WrongAnswer("it lists no files")
    for entry in listed:
        if not isinstance(entry, dict) or not isinstance(entry.get("rfilename"), str):
            raise WrongAnswer("it lists a file without a name")
        path, size, lfs = entry["rfilename"], entry.get("size"), entry.get("lfs")
        if lfs:
            algorithm, digest = "sha256", lfs.get("sha256") if isinstance(lfs, dict) else None
        else:
            algorithm, digest = "git-sha1", entry.get("blobId")
        n_bytes = size_of(size)
        if n_bytes is not None and digest:
            files[path] = n_bytes, checksum_of(algorithm, digest, path)
    return files


def size_of(listed: Any) -> int | None:
    """Bytes of a file, as listed; None if that is no size."""
    is_number = isinstance(listed, int) and not isinstance(listed, bool)
    return listed if is_number and 0 <= listed <= _MAX_FILE_BYTES else None


def checksum_of(algorithm: str, digest: object, path: str) -> Checksum:
    """Raises DownloadError for a digest that is none."""
    try:
        return Checksum(algorithm, str(digest))
    except ValueError as error:
        raise DownloadError(
            f"The hub lists an invalid checksum for {_short(path)} "
            f"({_short(error)}): try another mirror with endpoint=."
        ) from None


def commit_of(table: Any) -> str:
    """The commit that a response is about. Raises WrongAnswer."""
    if not isinstance(table, dict):
        raise WrongAnswer("its response is not a JSON object")
    commit = table.get("sha")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise WrongAnswer("it names no commit")
    return commit


def license_of(table: Any) -> str:
    card = table.get("cardData")
    declared = [card.get(key) for key in ("license_name", "license")] if isinstance(card, dict) else []
    return next((text[:_MAX_LICENSE_CHARS] for text in declared if isinstance(text, str) and text), "")


def _without_body(response: Any) -> Any:
    """An error response with headers only: the library would read an unbounded body."""
    kept = ("x-error", RETRY_AFTER)
    told = {name: value for name, value in response.headers.items() if name.lower().startswith(kept)}
    return type(response)(response.status_code, headers=told, request=response.request)


def _short(text: object) -> str:
    return printable(" ".join(str(text).split()))[:_MAX_SHOWN]
