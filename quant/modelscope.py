"""ModelScope: the contents of a repository, and the address of a file, in place of the Hugging Face hub's.

In: a repository by its name on Hugging Face. Out: a `Repository` of that name with what ModelScope has. It lists no
commits: files are told apart by their checksums. Fetching, retries and words are those of `hub`.

Source: ModelScope's interface as its clients use it; upstream indextts/utils/model_download.py (names of repositories).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from edgetts.quant.answers import WrongAnswer, checksum_of, size_of
from edgetts.quant.hub import DEFAULT_REVISION, Hub, HubFile, NotPublished, Repository

MODELSCOPE_ENDPOINT = "https://www.modelscope.cn"
_OK = 200
_DEFAULT_BRANCH = "master"
# Where the name differs from the one on Hugging Face.
_NAMES = {
    "funasr/campplus": "iic/speech_campplus_sv_zh-cn_16k-common",
    "facebook/w2v-bert-2.0": "AI-ModelScope/w2v-bert-2.0",
}


class ModelScope(Hub):
    """token: of the user, sent only over https or to this machine."""

    title = "ModelScope"
    default_endpoint = MODELSCOPE_ENDPOINT
    login = "set MODELSCOPE_API_TOKEN"

    def __init__(self, endpoint: str | None = None, token: str | None = None) -> None:
        super().__init__(endpoint)
        self._secret = token if self.is_secret else None
        self._token = False  # the one of Hugging Face stays here

    def page(self, name: str) -> str:
        return f"{self.default_endpoint}/models/{own_name(name)}"

    def _list_url(self, name: str, revision: str) -> str:
        return f"{self._api(name)}/files?Revision={quote(_branch(revision), safe='')}&Recursive=true"

    def _file_url(self, repository: Repository, file: HubFile) -> str:
        where = f"Revision={quote(repository.commit, safe='')}&FilePath={quote(file.path, safe='')}"
        return f"{self._api(repository.name)}?{where}"

    def _api(self, name: str) -> str:
        return f"{self.endpoint}/api/v1/models/{own_name(name)}/repo"

    def _headers(self) -> dict[str, str]:
        headers = super()._headers()
        if self._secret is not None:
            headers["authorization"] = f"Bearer {self._secret}"
        return headers

    def _read_list(self, table: Any, name: str, revision: str) -> Repository:
        if not isinstance(table, dict):
            raise WrongAnswer("its response is not a JSON object")
        if table.get("Success") is False or table.get("Code", _OK) != _OK:
            raise NotPublished(
                f"{self.endpoint} has no {name} at revision {_branch(revision)}, or hides it from you: look at "
                f"{self.page(name)}, or take another source=."
            )
        data = table.get("Data")
        listed = data.get("Files") if isinstance(data, dict) else None
        if not isinstance(listed, list):
            raise WrongAnswer("it lists no files")
        files = {}
        for entry in listed:
            if not isinstance(entry, dict) or not isinstance(entry.get("Path"), str):
                raise WrongAnswer("it lists a file without a name")
            path, size, digest = entry["Path"], size_of(entry.get("Size")), entry.get("Sha256")
            if entry.get("Type") != "tree" and size is not None and digest:
                files[path] = HubFile(path, size, checksum_of("sha256", digest, path))
        return Repository(name, revision, _branch(revision), f"see {self.page(name)}", files, self)


def own_name(name: str) -> str:
    """The name on ModelScope of a repository on Hugging Face."""
    return _NAMES.get(name, name)


def _branch(revision: str) -> str:
    return _DEFAULT_BRANCH if revision == DEFAULT_REVISION else revision
