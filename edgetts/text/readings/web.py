"""Addresses and other dotted names: web, e-mail, IP, versions, handles. For both languages.

In: "https://example.com/a?b=1", "jane.doe@example.com", "192.168.1.1", "v2.0.1", "@name", "#tag". Out: their words and
the names of the signs between them; a known scheme and "www." are dropped. `rules` takes the names of the signs and
the readings of digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from edgetts.text.readings.rule import CAPITALS, Rule, rule, words

_TOP_LEVEL_DOMAINS = (
    "com|org|net|edu|gov|mil|int|info|biz|io|ai|app|dev|co|uk|us|de|fr|es|it|nl|eu|ch|at|be|se|no|dk|fi|pl|cz|ru|cn|jp|"
    "kr|tw|hk|in|au|nz|ca|br|mx|za|tv|me|cc|xyz|online|tech|site|blog|wiki|fm|ly|gg|to|sh|rs|py"
)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})"
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{1,8}}"
_PATH = r"[/?#](?:[\w\-.~:/?#@!$&*+,;=%]{0,400}[\w/=~&-])?"
_NOT_WORD = r"(?<![\w@./-])"
_RUNS = re.compile(r"[A-Za-z]+|\d+|[^A-Za-z\d]")
_SHORT = 3  # letters; domains and labels of at most this length are spelled unless listed
_SPOKEN_AS_WORDS = frozenset(
    words("com org net edu gov int info biz app dev co io api blog shop news mail docs wiki tech me")
)
_SOFTWARE = "[Vv]ersion|[Rr]elease|Python|Java|Node|PHP|Ruby|iOS|macOS|Android|Firefox|Chrome|PyTorch|CUDA|Ubuntu|Linux"
_FILES = (
    "html|htm|css|js|ts|py|md|txt|csv|tsv|json|xml|yaml|yml|toml|ini|pdf|docx?|xlsx?|pptx?|jpe?g|png|gif|svg|mp3|mp4|wav|"
    "flac|ogg|opus|avi|mov|mkv|zip|tar|gz|exe|dll|so|deb|iso|apk|cpp|rs|go|java|rb|php|sh|bat|log|srt|safetensors|ipynb"
)
_NO_VERSIONS = re.compile(  # dates and a telephone number
    r"(?:19|20)\d\d\.(?:0?[1-9]|1[0-2])\.(?:0?[1-9]|[12]\d|3[01])|(?:0?[1-9]|[12]\d|3[01])\.(?:0?[1-9]|1[0-2])\.(?:19|20)\d\d"
    r"|[2-9]\d\d\.\d{3}\.\d{4}"
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"

EN_SIGNS = {
    ".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde", "!": "exclamation mark",
    "$": "dollar", "*": "star", ",": "comma", ";": "semicolon",
}  # fmt: skip
ZH_SIGNS = {
    ".": "点", "/": "斜杠", "@": "艾特", "-": "杠", "_": "下划线", ":": "冒号", "?": "问号", "=": "等于", "&": "和",
    "#": "井号", "%": "百分号", "+": "加", "~": "波浪线", "!": "感叹号", "$": "美元", "*": "星号", ",": "逗号",
    ";": "分号",
}  # fmt: skip


def rules(
    signs: Mapping[str, str], number: Callable[[str], str], digits: Callable[[str], str], *, separator: str
) -> tuple[Rule, ...]:
    """number: reads the digits of a name. digits: reads digits one by one. separator: between words."""

    def address(text: str) -> str:
        words: list[str] = []
        for run in _RUNS.findall(text):
            if run.isdecimal():
                words.append(number(run))
            elif run.isalpha():
                words.append(_letters(run))
            else:
                words.append(signs.get(run, run))
        return separator.join(words)

    def url(match: re.Match[str]) -> str:
        rest = match["rest"].rstrip("/")
        return address(re.sub(r"^www\.", "", rest, flags=re.IGNORECASE))

    def scheme(match: re.Match[str]) -> str:
        """A scheme without a valid address after it; spelled if it has no vowel."""
        name = match["scheme"]
        name = name if re.search("[aeiouAEIOU]", name) else " ".join(name.upper())
        return separator + separator.join((name, *(signs[sign] for sign in match["signs"]))) + separator

    def plain(match: re.Match[str]) -> str:
        return address(re.sub(r"^www\.", "", match.group().rstrip("/"), flags=re.IGNORECASE))

    def dotted(match: re.Match[str]) -> str | None:
        parts = match["parts"].split(".")
        if _NO_VERSIONS.fullmatch(match["parts"]):
            return None
        said = [digits(part) if len(part) > 2 or (part[0] == "0" and len(part) > 1) else number(part) for part in parts]
        port = match.groupdict().get("port") or ""
        port = f"{separator}{signs[port[0]]}{separator}{number(port[1:])}" if port else ""
        before = f"{match['v'].rstrip()}{separator or ' ' * match['v'].endswith(' ')}" if match["v"] else ""
        point = (
            signs["."] if len(parts) == 4 and all(int(part) < 256 for part in parts) else signs.get("point", signs["."])
        )
        suffix = separator + match["rc"].lstrip("-") if match["rc"] else ""
        return before + f"{separator}{point}{separator}".join(said) + suffix + port

    return (
        rule(
            rf"(?i:\b(?:https?|ftp|ftps|sftp|ssh|git|file|ws|wss)://)(?P<rest>[A-Za-z0-9\[][\w.:@\[\]-]{{0,253}}(?:{_PATH})?(?<![.,;:!?]))",
            url,
        ),
        rule(r"(?<![\w+.-])(?P<scheme>[A-Za-z][A-Za-z0-9]{0,15})(?P<signs>:/{2,3})(?!/)", scheme),
        rule(
            rf"(?i:\bmailto:)?(?P<mail>(?<![\w@.+-])[A-Za-z0-9](?:[\w.+-]{{0,62}}[\w+-])?@{_HOST})(?![\w@])",
            lambda m: address(m["mail"]),
        ),
        rule(rf"{_NOT_WORD}(?i:www\.){_HOST}(?::\d{{1,5}})?(?:{_PATH})?(?<![.,;:!?])", plain, needs=CAPITALS),
        rule(
            rf"{_NOT_WORD}{_LABEL}(?:\.{_LABEL}){{0,4}}\.(?:{_TOP_LEVEL_DOMAINS})(?::\d{{2,5}})?(?:{_PATH})?(?![\w@])(?!\.[A-Za-z])",
            lambda m: plain(m) if re.search("[A-Za-z]", m.group().split(".")[0]) else None,
            needs=CAPITALS,
        ),
        rule(
            rf"(?<![\w.@/-])[\w-]{{0,64}}(?:\.[\w-]{{1,20}}){{0,4}}\.(?:{_FILES})(?![\w/])(?!\.\w)",
            plain,
            needs=CAPITALS,
        ),
        rule(
            rf"(?<![\d.])(?P<v>)(?P<parts>{_OCTET}(?:\.{_OCTET}){{3}})(?P<rc>)(?P<port>[:/]\d{{1,5}})?(?!\d|\.\d)",
            dotted,
        ),
        rule(
            r"(?<![\d.,A-Za-z])(?P<v>[vV](?:er(?:sion)?)?\.? ?)?(?P<parts>\d{1,4}(?:\.\d{1,5}){2,5})"
            r"(?P<rc>(?:-?(?:rc|beta|alpha|dev)\.?)?)(?!\d|\.\d)",
            dotted,
        ),
        rule(r"(?<![\d.,A-Za-z])(?P<v>[vV](?:er)?\.? ?)(?P<parts>\d{1,4}\.\d{1,5})(?P<rc>)(?!\d|\.\d)", dotted),
        rule(rf"\b(?P<v>(?:{_SOFTWARE}) ?)(?P<parts>\d{{1,4}}\.\d{{1,3}})(?P<rc>)(?![\d%]|\.\d)", dotted),
    )


def _letters(run: str) -> str:
    """A run of letters in an address; spelled if it is too short for a word."""
    if run.lower() in _SPOKEN_AS_WORDS or len(run) > _SHORT:
        return run
    vowels = sum(char in "aeiouyAEIOUY" for char in run)
    if len(run) == 1 or (vowels and run.islower()):
        return run
    return " ".join(run)
