"""Misuse gets one sentence on stderr and exit code 2, before anything slow is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import Edgetts

from edgetts.errors import EdgeTTSError


def assert_refused(result: object, words: str, code: int = 2) -> None:
    stderr = getattr(result, "stderr")  # noqa: B009
    assert getattr(result, "exit_code") == code, stderr  # noqa: B009
    assert len(stderr.splitlines()) == 1, stderr
    assert stderr.startswith("edgetts: ")
    assert words in stderr
    assert getattr(result, "stdout") == ""  # noqa: B009


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sya"], "Did you mean 'say'"),
        (["say", "hi", "--color"], "--color"),
        (["say", "-o", "a.wav"], "nothing to speak"),  # an empty pipe
        (
            ["say", "hi", "-o", "a.wav", "--raw"],
            "--raw writes samples without a header, not a wav file: end a.wav in .pcm",
        ),
        (["say", "hi", "-o", "a.mp3", "--raw"], "not a mp3 file"),
        (["say", "hi", "-f", "x", "-o", "a.wav"], "not both"),
        (["say", "-f", "none.txt", "-o", "a.wav"], "no text file at none.txt"),
        (["say", "-f", ".", "-o", "a.wav"], "is a folder"),
        (["say", "-f", "/dev/zero", "-o", "a.wav"], "is a device"),
        (["say", "hi", "-o", "a.xyz"], "names no audio format"),
        (["say", "hi", "-o", "a"], "names no audio format"),
        (["say", "hi", "-o", "none/a.wav"], "There is no folder"),
        (["say", "hi", "-o", "."], "names no audio format"),
        (["say", "hi", "-o", ".", "--format", "wav"], "is a folder"),
        (["say", "hi", "-o", "a.wav", "--format", "aac"], "Unknown audio format 'aac'"),
        (["say", "hi", "-o", "a.wav", "--raw", "--format", "mp3"], "contradict"),
        (["say", "hi", "-o", "-", "--json"], "both write to standard output"),
        (["say", "hi", "-o", "a.wav", "--top-p", "3"], "top_p"),
        (["say", "hi", "-o", "a.wav", "--temperature", "nan"], "temperature"),
        (["say", "hi", "-o", "a.wav", "--beams", "two"], "--beams"),
        (["say", "hi", "-o", "a.wav", "--seed", "-1"], "seed"),
        (["say", "hi", "-o", "a.wav", "--solver", "rk4"], "solver"),
        (["say", "hi", "-o", "a.wav", "--greedy", "--top-k", "3"], "--top-k has no effect"),
        (["say", "hi", "-o", "a.wav", "--no-guards", "--retries", "3"], "--retries has no effect"),
        (["say", "hi", "-o", "a.wav", "--memory-budget", "2"], "'2' is not a size of memory"),
        (["bench", "--memory-budget", "lots"], "'lots' is not a size of memory"),
        (["say", "hi", "-o", "a.wav", "-e", "joy=1"], "Unknown emotion 'joy'"),
        (["say", "hi", "-o", "a.wav", "-e", "happy"], "name=weight"),
        (["say", "hi", "-o", "a.wav", "-e", "happy=9"], "happy=9"),
        (["say", "hi", "-o", "a.wav", "-e", "happy=1", "--emotion-voice", "a.wav"], "cannot be combined"),
        (["say", "hi", "-o", "a.wav", "--emotion-alpha", "1"], "needs an emotion"),
        (["say", "hi", "-o", "a.wav", "--emotion-cap"], "needs an emotion"),
        (["voices", "add", "../x", "a.wav"], "is not a valid name"),
        (["voices", "add", "x"], "FILE"),
        (["voices", "add", "x", "-"], "not from standard input"),
        (["convert", "a", "b", "--dtype", "int3"], "fp32 and fp16"),
    ],
)
def test_misuse(
    arguments: list[str], words: str, edgetts: Edgetts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(edgetts(*arguments), words)
    assert [p.name for p in tmp_path.iterdir()] in ([], ["home"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["say", "hi", "-o", "a.wav"], "There is no model pack on this machine yet"),
        (["say", "hi", "-o", "a.wav", "-p", "none"], "There is no model pack at none"),
        (["voices", "show", "anna"], "There is no voice called 'anna'"),
        (["voices", "remove", "anna"], "There is no voice called 'anna'"),
        (["voices", "export", "anna", "a.safetensors"], "There is no voice called 'anna'"),
        (["voices", "add", "anna", "none.wav"], "There is no recording at none.wav"),
        (["info", "none"], "There is no model pack at none"),
        (["info", "."], "is not a model pack"),
    ],
)
def test_things_that_are_not_there(
    arguments: list[str], words: str, edgetts: Edgetts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgetts.pack import locate

    monkeypatch.setattr(locate, "builtin_pack", lambda: tmp_path / "builtin")
    monkeypatch.chdir(tmp_path)
    assert_refused(edgetts(*arguments), words, code=1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"caf\xe9", "not UTF-8 (byte 0xe9 at position 3): it looks like cp1252; convert it with `iconv -f cp1252"),
        ("你好，世界".encode("gbk"), "it looks like gb18030; convert it with `iconv -f gb18030 -t utf-8`"),
        (b"\xff\xfeh", "not UTF-8"),
    ],
)
def test_text_that_is_no_text(data: bytes, words: str, edgetts: Edgetts, tmp_path: Path) -> None:
    assert_refused(edgetts("say", "-", "-o", tmp_path / "a.wav", input=data), words)
    file = tmp_path / "text.txt"
    file.write_bytes(data)
    assert_refused(edgetts("say", "-f", file, "-o", tmp_path / "a.wav"), words)


def test_text_encodings() -> None:
    from edgetts.cli.text_input import decode_text

    for data in ("héllo".encode(), "héllo".encode("utf-8-sig"), "héllo".encode("utf-16")):
        assert decode_text(data, "it") == "héllo"


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        ("你好\n", "gbk", "gb18030"),
        ("第一章 2023年，他们去了北京。" * 9000, "gbk", "gb18030"),  # cut in the middle of a character
        ("Hello 世界, mixed", "gb18030", "gb18030"),
        ("entrée, déjà vu, élève", "latin1", "cp1252"),
        ("Größe: 5 µm – „so“", "cp1252", "cp1252"),
        ("こんにちは", "shift_jis", None),
        ("".join(map(chr, range(0x80, 0x100))), "latin1", None),
    ],
)
def test_an_old_encoding_is_named_only_where_the_bytes_speak_for_it(text: str, codec: str, name: str | None) -> None:
    from edgetts.cli.text_input import likely_encoding, recode_hint

    data = text.encode(codec)
    for cut in (len(data), len(data) - 1):
        assert likely_encoding(data[:cut]) == name
    assert (name or "ENCODING") in recode_hint(data)


def test_messages_of_the_library_name_options() -> None:
    from edgetts.cli.flags import with_flags

    assert with_flags("try another with seed=.") == "try another with --seed."
    assert with_flags("less with prompt_s= and n_steps=, or") == "less with --prompt-seconds and --steps, or"
    for text in ("seed=5 is", "happy=0.4,sad=0.2", "x==y", "a = b", "--voice=me", "https://a.b/?q="):
        assert with_flags(text) == text


def test_without_text_a_terminal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgetts.cli.say import request
    from edgetts.errors import UsageError

    class Terminal:
        def isatty(self) -> bool:
            return True

    for stdin in (Terminal(), None):
        monkeypatch.setattr(request.sys, "stdin", stdin)
        with pytest.raises(UsageError, match="Give the text to speak"):
            request.words((), None, is_live=False)


def test_messages_stay_on_one_printable_line() -> None:
    from edgetts.errors import one_line

    assert one_line("a\nb\t\x1b[31mred\udcff") == "a b \\x1b[31mred\\udcff"


def test_errors_and_interrupts(edgetts: Edgetts, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgetts.voices.store import VoiceStore

    def fail_with(error: BaseException) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(VoiceStore, "entries", fail)

    for error, code, words in (
        (EdgeTTSError("Two\nlines."), 1, "edgetts: Two lines.\n"),
        (KeyboardInterrupt(), 130, ""),
        (MemoryError(), 1, "edgetts: There is not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "edgetts: There is not enough memory"),
        (OSError(28, "No space left on device"), 1, "edgetts: Reading or writing failed: No space left"),
    ):
        fail_with(error)
        result = edgetts("voices", "list")
        assert result.exit_code == code
        assert result.stderr.startswith(words)
        assert len(result.stderr.splitlines()) == bool(words)


def test_help_and_version(edgetts: Edgetts) -> None:
    assert edgetts("--version").stdout.startswith("edgetts 0.")
    for arguments in ([], ["voices"], ["say", "--help"], ["voices", "add", "-h"], ["convert", "--help"]):
        result = edgetts(*arguments)
        assert result.exit_code == 0
        assert "Usage:" in result.stdout


def test_no_heavy_imports() -> None:
    code = (
        "import sys, edgetts, edgetts.cli, edgetts.cli.app\n"
        "try: edgetts.cli.app.app(['say', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'soundfile', 'safetensors', 'tokenizers', 'edgetts.quant'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_closed_pipe_is_quiet(tmp_path: Path) -> None:
    command = f"{sys.executable} -m edgetts voices list --json | true"
    root = Path(__file__).resolve().parents[2]
    environment = {"EDGETTS_HOME": str(tmp_path), "PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_stray_modules_in_the_working_folder_are_not_ours(tmp_path: Path) -> None:
    for name in ("quant", "torch", "yaml", "typer", "recipes", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stray module was run')")
    root = Path(__file__).resolve().parents[2]
    environment = {"EDGETTS_HOME": str(tmp_path / "home"), "PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "edgetts", "quantize", "none", "x.pack", "--recipe", "cpu-x86"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300, check=False
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "none does not exist" in done.stderr and len(done.stderr.splitlines()) == 1
