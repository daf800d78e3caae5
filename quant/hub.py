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
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from edgetts import __version__
from edgetts.distribution import DISTRIBUTION, install
from edgetts.errors import DownloadError, UsageError
from edgetts.quant.answers import WrongAnswer, ask, check_content, commit_of, license_of, read_json, siblings_of
from edgetts.quant.part_file import Checksum, PartFile
from edgetts.quant.patience import Heartbeat, TooSlow, patiently
from edgetts.quant.refusals import Place, is_missing, retry_after_s, sentence, status_of

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
LONGEST_WAIT_S = 300.0  # that a hub may ask for; the real one counts requests in windows of five minutes
_WAIT_STEP_S = 10.0  # of a long wait, after each of which the work may be told to stop
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TEMPORARY = (408, 429, 500, 502, 503, 504)  # HTTP statuses worth a retry


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
    hub: Hub = field(repr=False)


class NotPublished(DownloadError):
    """The hub has no such repository, or does not show it."""


class Hub:
    """A hub that speaks as Hugging Face's. Raises UsageError unless the address is http(s)://HOST."""

    title = "Hugging Face"
    default_endpoint = DEFAULT_ENDPOINT
    login = "`hf auth login` or set HF_TOKEN"

    def __init__(self, endpoint: str | None = None) -> None:
        self.endpoint = (endpoint or self.default_endpoint).rstrip("/")
        try:
            parts = urlsplit(self.endpoint)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
            self._host = parts.hostname or ""
            _ = parts.port  # raises ValueError for an invalid port
        except ValueError:
            valid = False
        if not valid:
            raise UsageError(
                f"The mirror {endpoint!r} is not an address: give http(s)://HOST, such as {self.default_endpoint}."
            )
        # Never send a token unencrypted to another machine.
        self.is_secret = self.endpoint.startswith("https://") or self._host in _LOOPBACK
        self._token: bool | None = None if self.is_secret else False
        self.place = Place(self.endpoint, self.page, self.login)

    def page(self, name: str) -> str:
        """Address of a repository's page, for people; a mirror has none of its own."""
        return f"{self.default_endpoint}/{name}"

    def repository(self, name: str, revision: str = DEFAULT_REVISION) -> Repository:
        """The contents of a repository at a branch, tag or commit. Raises DownloadError."""
        library, url = _library(), self._list_url(name, revision)

        def work(_: Heartbeat) -> Any:
            with ask(library, url, self._headers(), READ_TIMEOUT_S) as response:
                return read_json(response)

        with self._explained(name, revision):
            try:
                return self._read_list(patiently(work, METADATA_LIMIT_S, least=1), name, revision)
            except TooSlow:
                raise DownloadError(
                    f"{self.endpoint} did not list the files of {name} within {METADATA_LIMIT_S:.0f} s: check the "
                    "network, or set a mirror with endpoint=."
                ) from None
            except WrongAnswer as error:
                raise DownloadError(
                    f"{self.endpoint} does not answer like a {self.title} hub about {name} ({error}): "
                    "check the address, and whether the network asks for a login page first."
                ) from error

    def _list_url(self, name: str, revision: str) -> str:
        return f"{self.endpoint}/api/models/{name}/revision/{quote(revision, safe='')}?blobs=true"

    def _read_list(self, table: Any, name: str, revision: str) -> Repository:
        """Raises WrongAnswer, DownloadError."""
        commit = commit_of(table)
        files = {path: HubFile(path, *about) for path, about in siblings_of(table).items()}
        return Repository(name, revision, commit, license_of(table), files, self)

    def _file_url(self, repository: Repository, file: HubFile) -> str:
        url: str = _library().hf_hub_url(repository.name, file.path, revision=repository.commit, endpoint=self.endpoint)
        return url

    def fetch(
        self,
        repository: Repository,
        file: HubFile,
        part: PartFile,
        wait: Callable[[float], None] = time.sleep,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """Append the missing bytes to `part`, with retries as long as bytes arrive. Raises DownloadError.

        tell: called with a phrase before a wait that the hub asked for (Retry-After); a longer one than
        LONGEST_WAIT_S is an error.
        """
        url = self._file_url(repository, file)

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
                asked_s = retry_after_s(problem)
                if asked_s > LONGEST_WAIT_S:
                    raise problem
                if asked_s > RETRY_WAIT_S and tell is not None:
                    tell(f"waiting {asked_s:.0f} s, as the hub asks")
                _wait(max(RETRY_WAIT_S, asked_s), wait, progress)

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
            kind = NotPublished if not path and is_missing(error) else DownloadError
            raise kind(sentence(error, self.place, name, revision, path)) from error
        except ImportError as error:  # a SOCKS proxy needs another package
            raise DownloadError(
                f"The proxy cannot be used ({error}): install the missing package, or unset the proxy."
            ) from None


def _wait(seconds: float, wait: Callable[[float], None], progress: Heartbeat) -> None:
    """Wait, which counts as progress: the hub asked for it."""
    while seconds > 0:
        step = min(seconds, _WAIT_STEP_S)
        wait(step)
        progress.add(SLOW_BYTES)
        seconds -= step


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


def _is_temporary(error: BaseException) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return status_of(error) in (0, *_TEMPORARY) and not isinstance(error, OfflineModeIsEnabled)
