"""A hub on the loopback interface, with the answers that the download relies on: Hugging Face's and ModelScope's.

Model information with sizes and checksums; files by commit, large ones by a redirect to another path, or another host,
as the real hubs do, with ranges. Faults are set per repository or file.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS_BYTES = 20_000  # files from this size on are stored as the real hub stores weights
OWN, OWN_25 = "IndexTeam/IndexTTS-2", "IndexTeam/IndexTTS-2.5"
W2V, MASKGCT, CAMPPLUS, BIGVGAN = (
    "facebook/w2v-bert-2.0",
    "amphion/MaskGCT",
    "funasr/campplus",
    "nvidia/bigvgan_v2_22khz_80band_256x",
)
ON_MODELSCOPE = {CAMPPLUS: "iic/speech_campplus_sv_zh-cn_16k-common", W2V: "AI-ModelScope/w2v-bert-2.0"}
LICENSES = {W2V: "mit", MASKGCT: "cc-by-nc-4.0", CAMPPLUS: None, BIGVGAN: "mit", OWN: "other", OWN_25: "other"}


@dataclass
class FakeHub:
    """Content and faults of the server, and the requests that it got."""

    repositories: dict[str, dict[str, bytes]]
    url: str = ""
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)  # repository or file -> status, X-Error-Code
    refuse_times: dict[str, int] = field(default_factory=dict)  # how often; without an entry: always
    retry_after: str | None = None  # header of refusals
    cdn_url: str = ""  # another host that large files are redirected to
    corrupt: set[str] = field(default_factory=set)  # files sent with one byte altered
    cut: dict[str, list[int]] = field(default_factory=dict)  # file -> bytes after which each connection breaks
    ignore_range: bool = False
    no_checksums: bool = False
    not_a_hub: bool = False
    # End of an address -> what is done instead of answering it; gets the handler.
    scripts: dict[str, Callable[[Any], None]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range
    headers: list[dict[str, str]] = field(default_factory=list)

    def commit(self, repository: str) -> str:
        sums = [(path, zlib.crc32(data)) for path, data in sorted(self.repositories[repository].items())]
        return hashlib.sha1(repr(sums).encode()).hexdigest()

    def fetched(self) -> list[str]:
        """Names of the files that were asked for, each time."""
        return [path.rpartition("/resolve/")[2].partition("/")[2] for path, _ in self.requests if "/resolve/" in path]

    def modelscope_files(self, repository: str) -> dict[str, Any]:
        files = [
            {"Type": "blob", "Path": path, "Size": len(data), "Sha256": hashlib.sha256(data).hexdigest()}
            for path, data in self.repositories[repository].items()
        ]
        folders = [{"Type": "tree", "Path": "folder", "Size": 0, "Sha256": ""}]
        return {"Code": 200, "Success": True, "Message": "success", "Data": {"Files": folders + files}}

    def information(self, repository: str) -> dict[str, Any]:
        siblings = []
        for path, data in self.repositories[repository].items():
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": blob}
            if len(data) >= LFS_BYTES:
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            siblings.append({"rfilename": path} if self.no_checksums else entry)
        license = LICENSES[repository]
        return {
            "id": repository,
            "modelId": repository,
            "sha": self.commit(repository),
            "private": False,
            "gated": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
            "cardData": {"license": license} if license else {},
        }


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each answer waits for the acknowledgement of its headers

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((path, self.headers.get("Range")))
            hub.headers.append({k.lower(): v for k, v in self.headers.items()})
            script = next((done for end, done in hub.scripts.items() if path.endswith(end)), None)
            if script is not None:
                with suppress(ConnectionError):  # the other side may have had enough
                    script(self)
            elif hub.not_a_hub:
                self.answer(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})
            elif match := re.fullmatch("/api/v1/models/([^/]+/[^/]+)/repo(/files)?", path):
                self.modelscope(match[1], is_list=match[2] is not None)
            elif match := re.fullmatch("/api/models/([^/]+/[^/]+)/revision/(.+)", path):
                self.information(match[1], match[2])
            elif match := re.fullmatch("/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self.resolve(*match.groups())
            elif match := re.fullmatch("/cdn/([^/]+/[^/]+)/(.+)", path):
                self.content(match[1], match[2])
            else:
                self.refused(404, "")

        def modelscope(self, own_name: str, *, is_list: bool) -> None:
            names = {ON_MODELSCOPE.get(name, name): name for name in hub.repositories}
            query = parse_qs(urlsplit(self.path).query)
            repository, revision = names.get(own_name, own_name), query["Revision"][0]
            if self.is_refused(repository if is_list else query["FilePath"][0]):
                return
            if repository not in hub.repositories or revision not in ("master", "v2"):
                self.answer(404, b'{"Code": 10010205001, "Success": false, "Message": "not found"}', {})
            elif is_list:
                table = json.dumps(hub.modelscope_files(repository)).encode()
                self.answer(200, table, {"Content-Type": "application/json"})
            else:
                self.send_file(repository, query["FilePath"][0], {})

        def is_refused(self, key: str) -> bool:
            """Answers with the refusal that is set, if there is one left."""
            left = hub.refuse_times.get(key, 1)
            if key not in hub.refuse or not left:
                return False
            if key in hub.refuse_times:
                hub.refuse_times[key] -= 1
            self.refused(*hub.refuse[key])
            return True

        def information(self, repository: str, revision: str) -> None:
            if self.is_refused(repository):
                return
            if repository not in hub.repositories:
                self.refused(401, "RepoNotFound")
            elif revision not in ("main", "v2", hub.commit(repository)):
                self.refused(404, "RevisionNotFound")
            else:
                self.answer(200, json.dumps(hub.information(repository)).encode(), {"Content-Type": "application/json"})

        def resolve(self, repository: str, commit: str, path: str) -> None:
            if self.is_refused(path):
                return
            if commit != hub.commit(repository):
                self.refused(404, "RevisionNotFound")
                return
            self.send_file(repository, path, {"X-Repo-Commit": commit})

        def send_file(self, repository: str, path: str, headers: dict[str, str]) -> None:
            data = hub.repositories[repository][path]
            if len(data) < LFS_BYTES:
                self.content(repository, path)
                return
            linked = {"X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data))}
            location = {"Location": f"{hub.cdn_url}/cdn/{repository}/{path}"}
            self.answer(302, b"", {**headers, **linked, **location})

        def content(self, repository: str, path: str) -> None:
            data = hub.repositories[repository][path]
            if path in hub.corrupt:
                data = bytes([data[0] ^ 1]) + data[1:]
            start = 0
            given = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
            headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept-Ranges": "bytes"}
            if given and not hub.ignore_range:
                start = int(given[1])
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            limits = hub.cut.get(path)
            limit = limits.pop(0) if limits else None
            self.answer(206 if "Content-Range" in headers else 200, data[start:], headers, limit)

        def refused(self, status: int, code: str) -> None:
            asked = {"Retry-After": hub.retry_after} if hub.retry_after is not None else {}
            self.answer(status, b"{}", {**({"X-Error-Code": code} if code else {}), **asked})

        def answer(self, status: int, body: bytes, headers: dict[str, str], limit: int | None = None) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if limit is None else body[:limit])
            if limit is not None:
                self.wfile.flush()
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hangs up is no news; the default writes to the standard error that a test looks at."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def repositories_of(folder: Path, own_name: str = OWN) -> dict[str, dict[str, bytes]]:
    """The repositories that a checkpoint folder in upstream's layout would have come from. own_name: its family's."""
    cache = folder / "hf_cache"
    own = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    codec = cache / "semantic_codec_model.safetensors"
    return {
        own_name: {
            **own,
            "LICENSE.txt": b"terms",
            "README.md": b"about",
            "qwen0.6bemo4-merge/model.safetensors": b"large",
        },
        W2V: {
            "config.json": (cache / "w2v-bert-2.0/config.json").read_bytes(),
            "model.safetensors": (cache / "w2v-bert-2.0/model.safetensors").read_bytes(),
            "conformer_shaw.pt": b"not needed",
        },
        MASKGCT: {
            "semantic_codec/model.safetensors": codec.read_bytes() if codec.exists() else b"not needed",
            "t2s_model/model.safetensors": b"not needed",
        },
        CAMPPLUS: {"campplus_cn_common.bin": (cache / "campplus_cn_common.bin").read_bytes()},
        BIGVGAN: {
            "config.json": (cache / "bigvgan/config.json").read_bytes(),
            "bigvgan_generator.pt": (cache / "bigvgan/bigvgan_generator.pt").read_bytes(),
            "bigvgan_discriminator_optimizer.pt": b"not needed",
            "LICENSE": b"MIT terms",
        },
    }


def small_repositories(config: Path) -> dict[str, dict[str, bytes]]:
    """The same with made-up contents; `config`: folder of the mini model's configuration files."""

    def weights(name: str, size: int = 50_000) -> bytes:
        return hashlib.shake_256(name.encode()).digest(size)

    return {
        OWN: {
            "config.yaml": (config / "config.yaml").read_bytes(),
            "gpt.pth": weights("gpt", 400_000),
            **{name: weights(name, 3_000) for name in ("bpe.model", "feat1.pt", "feat2.pt", "wav2vec2bert_stats.pt")},
            "s2mel.pth": weights("s2mel"),
            "LICENSE.txt": b"terms",
        },
        W2V: {"config.json": b"{}", "model.safetensors": weights("w2v")},
        MASKGCT: {"semantic_codec/model.safetensors": weights("codec")},
        CAMPPLUS: {"campplus_cn_common.bin": weights("campplus")},
        BIGVGAN: {"config.json": b"{}", "bigvgan_generator.pt": weights("bigvgan"), "LICENSE": b"MIT terms"},
    }
