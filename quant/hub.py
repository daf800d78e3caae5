"""The Hugging Face hub or a mirror: the contents of a repository, and the bytes of a file.

In: a repository, a revision, an address. Out: `Repository` (commit, license, files with size and checksum), and bytes
appended to a `PartFile`, or a `DownloadError`. `answers` validates responses, `patience` limits their time. It does not
know models or folders. `huggingface_hub` is imported at the first request; it provides token, proxies and certificates.

`hf_hub_download` is not used: newer versions discard the bytes of an interrupted run, and gigabytes over a slow line
need several runs. Source: huggingface_hub, hf_api.py, file_download.py.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from edgetts import __version__
from edgetts.distribution import DISTRIBUTION, install
from edgetts.errors import DownloadError, UsageError
from edgetts.quant.answers import WrongAnswer, ask, check_content, commit_of, license_of, read_json, siblings_of
from edgetts.quant.part_file import Checksum, PartFile
from edgetts.quant.patience import Heartbeat, TooSlow, patiently

logger = logging.getLogger(__name__)

DEFAULT_ENDPOINT = "https://huggingface.co"
DEFAULT_REVISION = "main"
READ_TIMEOUT_S = 30.0  # without a byte
METADATA_LIMIT_S = 60.0  # for the JSON about a repository
# A connection below this rate (about 1 KB/s) is treated as stalled.
SLOW_STRETCH_S = 60.0
SLOW_BYTES = 64 << 10  # per stretch
MIN_GAIN_BYTES = 64 << 10  # a request that brings less counts as a failure
MAX_STALLS = 3  # failures in a row before giving up
RETRY_WAIT_S = 2.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TEMPORARY = (408, 429, 500, 502, 503, 504)  # HTTP statuses worth a retry
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _PROXY_LOGIN, _TOO_MANY = 401, 403, 404, 407, 429
_SERVER_ERROR = 500


@dataclass(frozen=True)
class HubFile:
    """A file of a repository. size: bytes."""

    path: str
    size: int
    checksum: Checksum


@dataclass(frozen=True)
class Repository:
    """A model repository at one commit. license: as its page declares it, or ""."""

    name: str
    revision: str
    commit: str
    license: str
    files: Mapping[str, HubFile]


class Hub:
    """A hub. Raises UsageError unless the address is http(s)://HOST."""

    def __init__(self, endpoint: str | None = None) -> None:
        self.endpoint = (endpoint or DEFAULT_ENDPOINT).rstrip("/")
        try:
            parts = urlsplit(self.endpoint)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
            self._host = parts.hostname or ""
            _ = parts.port  # raises ValueError for an invalid port
        except ValueError:
            valid = False
        if not valid:
            raise UsageError(
                f"The mirror {endpoint!r} is not an address: give http(s)://HOST, such as {DEFAULT_ENDPOINT}."
            )
        # Never send a token unencrypted to another machine.
        secret = self.endpoint.startswith("https://") or self._host in _LOOPBACK
        self._token: bool | None = None if secret else False

    def repository(self, name: str, revision: str = DEFAULT_REVISION) -> Repository:
        """The contents of a repository at a branch, tag or commit. Raises DownloadError."""
        library = _library()
        url = f"{self.endpoint}/api/models/{name}/revision/{quote(revision, safe='')}?blobs=true"

        def work(_: Heartbeat) -> Any:
            with ask(library, url, self._headers(), READ_TIMEOUT_S) as response:
                return read_json(response)

        with self._explained(name, revision):
            try:
                table = patiently(work, METADATA_LIMIT_S, least=1)
                commit = commit_of(table)
                files = {path: HubFile(path, *about) for path, about in siblings_of(table).items()}
            except TooSlow:
                raise DownloadError(
                    f"{self.endpoint} did not list the files of {name} within {METADATA_LIMIT_S:.0f} s: check the "
                    "network, or set a mirror with endpoint=."
                ) from None
            except WrongAnswer as error:
                raise DownloadError(
                    f"{self.endpoint} does not answer like a Hugging Face hub about {name} ({error}): "
                    "check the address, and whether the network asks for a login page first."
                ) from error
        return Repository(name, revision, commit, license_of(table), files)

    def fetch(
        self,
        repository: Repository,
        file: HubFile,
        part: PartFile,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Append the missing bytes to `part`, with retries as long as bytes arrive. Raises DownloadError."""
        library = _library()
        url = library.hf_hub_url(repository.name, file.path, revision=repository.commit, endpoint=self.endpoint)

        def work(progress: Heartbeat) -> None:
            most, stalls = part.size, 0  # most: a server that restarts each time makes no progress
            while part.size < file.size:
                try:
                    self._append(url, part, progress)
                    problem: Exception = WrongAnswer(f"it ends after {part.size} of {file.size} bytes")
                except WrongAnswer as error:
                    if error.is_final:
                        raise
                    problem = error
                except _network_errors() as error:
                    if not _is_temporary(error):
                        raise
                    problem = error
                if part.size >= file.size:
                    return
                stalls = 0 if part.size >= most + MIN_GAIN_BYTES else stalls + 1
                most = max(most, part.size)
                if stalls >= MAX_STALLS:
                    raise problem
                logger.info("%s stopped at %d of %d bytes (%s): trying again", file.path, part.size, file.size, problem)
                wait(RETRY_WAIT_S)

        what = f"{file.path} of {repository.name}"
        with self._explained(repository.name, repository.revision, file.path):
            try:
                patiently(work, SLOW_STRETCH_S, SLOW_BYTES)
            except TooSlow:
                raise DownloadError(
                    f"{self.endpoint} sends {what} too slowly (less than {SLOW_BYTES >> 10} KiB in "
                    f"{SLOW_STRETCH_S:.0f} s): run the same command again, it continues where it stopped, or set "
                    "another mirror with endpoint=."
                ) from None
            except WrongAnswer as error:
                raise DownloadError(
                    f"{self.endpoint} does not send {what} ({error}): check whether the network asks for a login page "
                    "first, and run the same command again; it continues where it stopped."
                ) from error

    def _append(self, url: str, part: PartFile, progress: Heartbeat) -> None:
        """One request for the missing bytes."""
        # A byte range of compressed content would be wrong.
        headers = {**self._headers(), "Accept-Encoding": "identity"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
        with ask(_library(), url, headers, READ_TIMEOUT_S) as response:
            if not check_content(response, part.size, part.wanted_size):
                part.restart()  # the server restarts at byte 0
            for chunk in response.iter_raw():
                progress.add(len(chunk))
                part.write(chunk)
                if part.size > part.wanted_size:
                    return  # wrong file: its checksum will not match

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = _library().utils.build_hf_headers(
            token=self._token, library_name=DISTRIBUTION, library_version=__version__
        )
        return headers

    @contextlib.contextmanager
    def _explained(self, name: str, revision: str, path: str = "") -> Iterator[None]:
        try:
            yield
        except _network_errors() as error:
            raise DownloadError(self._sentence(error, name, revision, path)) from error
        except ImportError as error:  # a SOCKS proxy needs another package
            raise DownloadError(
                f"The proxy cannot be used ({error}): install the missing package, or unset the proxy."
            ) from None

    def _sentence(self, error: BaseException, name: str, revision: str, path: str) -> str:
        from huggingface_hub import errors

        what = f"{path} of {name}" if path else name
        status = _status(error)
        reason = f"HTTP {status}" if status else " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, errors.OfflineModeIsEnabled):
            return f"{what} cannot be fetched: HF_HUB_OFFLINE forbids downloads; unset it and run again."
        if isinstance(error, errors.GatedRepoError):
            return (
                f"{name} is given only to those who agreed to its terms (HTTP {status}): agree on "
                f"{DEFAULT_ENDPOINT}/{name}, then `hf auth login` or set HF_TOKEN, and run again."
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return f"{name} has no revision {revision!r}: give a branch, a tag or a commit as revision=."
        if isinstance(error, errors.EntryNotFoundError):
            return f"{self.endpoint} has no file {what} (revision {revision}): try another revision= or endpoint=."
        if isinstance(error, errors.RepositoryNotFoundError) or status == _NOT_FOUND:
            return (
                f"{self.endpoint} has no {what} (HTTP {status}), or hides it from you: check the address of the "
                f"mirror (endpoint=), or look at {DEFAULT_ENDPOINT}/{name}."
            )
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            return (
                f"{self.endpoint} refuses {what} (HTTP {status}): `hf auth login` again or correct HF_TOKEN, "
                "and see whether its page asks for agreement."
            )
        if status == _PROXY_LOGIN or type(error).__name__ == "ProxyError":
            return f"The proxy refuses {self.endpoint} ({reason}): check HTTPS_PROXY and its password."
        if status == _TOO_MANY:
            return f"{self.endpoint} limits the rate (HTTP {status}): run the same command again in some minutes."
        if status >= _SERVER_ERROR:
            return f"{self.endpoint} failed with HTTP {status} for {what}: run the command again later."
        if status:
            return f"{self.endpoint} refuses {what} (HTTP {status}): check the address of the mirror (endpoint=)."
        if path:
            return (
                f"The connection broke while fetching {what} ({reason}): run the same command again; it continues "
                "where it stopped."
            )
        return (
            f"{self.endpoint} cannot be reached ({reason}): check the network and HTTPS_PROXY, or set a mirror "
            "with endpoint=."
        )


def _library() -> Any:
    try:
        import huggingface_hub.utils
    except ImportError:
        raise DownloadError(f"Downloading needs huggingface_hub: `{install('download')}`.") from None
    return huggingface_hub


def _network_errors() -> tuple[type[Exception], ...]:
    """What a request raises; the base class depends on the HTTP library of the huggingface_hub version."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, *(c for c in HfHubHTTPError.__mro__ if c.__name__ == "HTTPError" and issubclass(c, Exception)))


def _status(error: BaseException) -> int:
    """HTTP status of an error; 0 without a response."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def _is_temporary(error: BaseException) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return _status(error) in (0, *_TEMPORARY) and not isinstance(error, OfflineModeIsEnabled)
