"""The Hugging Face hub, or a mirror of it: what a repository holds, and the bytes of a file.

In: a repository, a revision, an address. Out: `Repository` (commit, licence, files with size and checksum),
and bytes appended to a `PartFile`. Knows no model and no folder. `huggingface_hub` is imported when something
is asked for; it brings the user's token, proxies and certificates.

Its own `hf_hub_download` is not used: newer versions throw away what an interrupted run has fetched, and
gigabytes over a slow line are rarely fetched in one go. Source: huggingface_hub, hf_api.py, file_download.py.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from edgetts import __version__
from edgetts.errors import DownloadError, UsageError
from quant.part_file import Checksum, PartFile

DEFAULT_ENDPOINT = "https://huggingface.co"
DEFAULT_REVISION = "main"
METADATA_TIMEOUT_S = 30.0
TRANSFER_TIMEOUT_S = 30.0  # without a byte
CHUNK_BYTES = 1 << 16  # what at most is fetched in vain when the connection breaks
MAX_STALLS = 3  # failures in a row, without one byte between them, before giving up
RETRY_WAIT_S = 2.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TEMPORARY = (408, 429, 500, 502, 503, 504)  # HTTP statuses worth another try
_PARTIAL_CONTENT = 206
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _PROXY_LOGIN, _TOO_MANY = 401, 403, 404, 407, 429
_SERVER_ERROR = 500


@dataclass(frozen=True)
class HubFile:
    """A file of a repository. size: bytes."""

    path: str
    size: int
    checksum: Checksum


@dataclass(frozen=True)
class Repository:
    """A model repository at one commit. licence: as its page declares it, or "" where it does not."""

    name: str
    revision: str
    commit: str
    licence: str
    files: Mapping[str, HubFile]


class Hub:
    """One hub address. Raises UsageError for one that is not http(s)://HOST."""

    def __init__(self, endpoint: str | None = None) -> None:
        self.endpoint = (endpoint or DEFAULT_ENDPOINT).rstrip("/")
        try:
            parts = urlsplit(self.endpoint)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
            self._host = parts.hostname or ""
            _ = parts.port  # raises when it is no number
        except ValueError:
            valid = False
        if not valid:
            raise UsageError(
                f"The mirror {endpoint!r} is not an address: give http(s)://HOST, such as {DEFAULT_ENDPOINT}."
            )
        # A token is never sent in clear text to another machine.
        secret = self.endpoint.startswith("https://") or self._host in _LOOPBACK
        self._token: bool | None = None if secret else False

    def repository(self, name: str, revision: str = DEFAULT_REVISION) -> Repository:
        """What the repository holds at a branch, tag or commit. Raises DownloadError."""
        library = _library()
        api = library.HfApi(
            endpoint=self.endpoint, token=self._token, library_name="edgetts", library_version=__version__
        )
        with self._explained(name, revision):
            try:
                info = api.model_info(name, revision=revision, files_metadata=True, timeout=METADATA_TIMEOUT_S)
                files = {s.rfilename: s for s in info.siblings or ()}
                commit = str(info.sha or "")
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise DownloadError(
                    f"{self.endpoint} does not answer like a Hugging Face hub about {name} ({error}): "
                    "check the address, and whether the network asks for a login page first."
                ) from error
        if not commit:
            raise DownloadError(f"{self.endpoint} names no commit for {name}: it is not a Hugging Face hub.")
        return Repository(name, revision, commit, _licence(info), _files(files))

    def fetch(
        self,
        repository: Repository,
        file: HubFile,
        part: PartFile,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Append what `part` lacks of the file, trying again while anything arrives. Raises DownloadError."""
        library = _library()
        url = library.hf_hub_url(repository.name, file.path, revision=repository.commit, endpoint=self.endpoint)
        stalls = 0
        with self._explained(repository.name, repository.revision, file.path):
            while part.size < file.size:
                before = part.size
                try:
                    self._append(url, part)
                except _network_errors() as error:
                    if not _is_temporary(error):
                        raise
                    stalls = 0 if part.size > before else stalls + 1
                    if stalls >= MAX_STALLS:
                        raise
                    wait(RETRY_WAIT_S)

    def _append(self, url: str, part: PartFile) -> None:
        """One request for what is lacking."""
        library = _library()
        headers = library.utils.build_hf_headers(token=self._token, library_name="edgetts", library_version=__version__)
        # Compressed on the way, a range of bytes would be one of something else.
        headers["Accept-Encoding"] = "identity"
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
        # A redirect to another host loses the token: the library's client sees to that.
        with library.get_session().stream("GET", url, headers=headers, timeout=TRANSFER_TIMEOUT_S) as response:
            library.utils.hf_raise_for_status(response)
            if part.size and response.status_code != _PARTIAL_CONTENT:
                part.restart()  # the server sends everything again
            for chunk in response.iter_bytes(CHUNK_BYTES):
                part.write(chunk)
                if part.size > part.wanted_size:
                    return  # cannot be the right file: its checksum will say so

    @contextlib.contextmanager
    def _explained(self, name: str, revision: str, path: str = "") -> Iterator[None]:
        try:
            yield
        except _network_errors() as error:
            raise DownloadError(self._sentence(error, name, revision, path)) from error
        except ImportError as error:  # a SOCKS proxy needs one package more
            raise DownloadError(f"The proxy cannot be used ({error}): install that, or unset the proxy.") from None

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
            return f"{name} has no revision {revision!r}: give a branch, a tag or a commit, or leave --revision out."
        if isinstance(error, errors.EntryNotFoundError):
            return f"{self.endpoint} has no file {what} (revision {revision}): try another --revision or --mirror."
        if isinstance(error, errors.RepositoryNotFoundError) or status == _NOT_FOUND:
            return (
                f"{self.endpoint} has no {what} (HTTP {status}), or hides it from you: check the address given with "
                f"--mirror, or look at {DEFAULT_ENDPOINT}/{name}."
            )
        if status in (_UNAUTHORISED, _FORBIDDEN):
            return (
                f"{self.endpoint} refuses {what} (HTTP {status}): `hf auth login` again or correct HF_TOKEN, "
                "and see whether its page asks for agreement."
            )
        if status == _PROXY_LOGIN or type(error).__name__ == "ProxyError":
            return f"The proxy does not let {self.endpoint} through ({reason}): check HTTPS_PROXY and its password."
        if status == _TOO_MANY:
            return f"{self.endpoint} asks for a pause (HTTP {status}): run the same command again in some minutes."
        if status >= _SERVER_ERROR:
            return f"{self.endpoint} has a fault of its own (HTTP {status} for {what}): run the command again later."
        if status:
            return f"{self.endpoint} refuses {what} (HTTP {status}): check the address given with --mirror."
        if path:
            return (
                f"The connection broke while fetching {what} ({reason}): run the same command again, it goes on "
                "where it stopped."
            )
        return (
            f"{self.endpoint} cannot be reached ({reason}): check the network and HTTPS_PROXY, or name a mirror "
            "with --mirror URL."
        )


def _library() -> Any:
    try:
        import huggingface_hub.utils
    except ImportError:
        raise DownloadError("Downloading needs one package more: pip install 'edgetts[download]'.") from None
    return huggingface_hub


def _network_errors() -> tuple[type[Exception], ...]:
    """What a request raises. The HTTP library beneath has changed with the versions, and its own base class with it."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, *(c for c in HfHubHTTPError.__mro__ if c.__name__ == "HTTPError" and issubclass(c, Exception)))


def _status(error: BaseException) -> int:
    """HTTP status of an answer, 0 where there was none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def _is_temporary(error: BaseException) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return _status(error) in (0, *_TEMPORARY) and not isinstance(error, OfflineModeIsEnabled)


def _licence(info: Any) -> str:
    card = info.card_data.to_dict() if info.card_data is not None else {}
    declared = [str(card[key]) for key in ("license_name", "license") if card.get(key)]
    return declared[0] if declared else ""


def _files(siblings: Mapping[str, Any]) -> dict[str, HubFile]:
    """Files whose size and checksum the hub tells; one that is wanted and not here is reported as missing."""
    files: dict[str, HubFile] = {}
    for path, sibling in siblings.items():
        algorithm, digest = ("sha256", sibling.lfs.sha256) if sibling.lfs else ("git-sha1", sibling.blob_id)
        if sibling.size is not None and digest:
            try:
                files[path] = HubFile(path, int(sibling.size), Checksum(algorithm, str(digest)))
            except ValueError as error:
                raise DownloadError(f"The hub gives a checksum of {path} that is none ({error}).") from None
    return files
