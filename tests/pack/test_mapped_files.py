"""A mapped file that is truncated while it is read: an error instead of the process's death."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgetts.native.library import find_library
from edgetts.pack.locate import builtin_pack
from edgetts.pack.mapped_files import find_watch

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or find_library() is None,
    reason="the compiled library watches files, on Linux",
)

READ = """
import faulthandler, mmap, os, sys
from pathlib import Path
from edgetts.pack.mapped_files import find_watch
faulthandler.enable()
path = Path(sys.argv[1])
watch = find_watch()
was_truncated = watch.watch(path if sys.argv[2] == "watched" else path.with_name("other"))
with path.open("rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
assert mapped[-1] == 1 and not was_truncated()
if path.is_symlink():
    os.truncate(path, mmap.PAGESIZE + 1)
    path.unlink()
    path.symlink_to("nowhere")
else:
    os.truncate(path, mmap.PAGESIZE + 1)
assert mapped[0] == 1 and not was_truncated()
assert mapped[len(mapped) // 2] == 0 and mapped[-1] == 0 and mapped[mmap.PAGESIZE] == 1
print(was_truncated())
print(watch.watch(path)())
"""
SPEAK = """
import os, sys
from pathlib import Path
from edgetts import TTS
from edgetts.errors import PackError
folder = Path(sys.argv[1])
with TTS.load(folder, home=folder / "home").stream("The river ran past the old mill. " * 30, seed=1) as stream:
    chunks = iter(stream)
    next(chunks)
    for path in folder.glob("*.safetensors"):
        os.truncate(path, 100)
    try:
        for chunk in chunks:
            print("sound")
    except PackError as error:
        print(error)
        raise SystemExit(1)
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    # Elsewhere than in a checkout, whose package need not be the one under test.
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd="/")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a file\nof two lines"
    path.write_bytes(b"\x01" * (1 << 20))
    return path


def test_a_watched_file_reads_as_zeros_behind_its_end(file: Path) -> None:
    done = run(READ, str(file), "watched")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\nFalse\n", "")


THREADS = """
import mmap, os, sys, threading, zlib
from pathlib import Path
from edgetts.pack.mapped_files import find_watch
path = Path(sys.argv[1])
watch = find_watch()
watch.watch(path)
for _ in range(100):
    os.truncate(path, 1 << 20)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
    os.truncate(path, 0)
    together = threading.Barrier(8)
    def read(view=memoryview(mapped)):
        together.wait()
        assert zlib.crc32(view) == zlib.crc32(bytes(1 << 20))  # without the interpreter lock
    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_that_read_the_same_end(file: Path) -> None:
    done = run(THREADS, str(file))
    assert (done.returncode, done.stderr) == (0, "")


def test_others_are_left_to_the_handler_before(file: Path) -> None:
    done = run(READ, str(file), "other")
    assert done.returncode == -signal.SIGBUS
    assert "Fatal Python error: Bus error" in done.stderr


def test_a_link_is_followed_to_where_it_led(file: Path, tmp_path: Path) -> None:
    """As of a folder of packs, whose link to the current one may be set to the next one."""
    (tmp_path / "link").symlink_to(file)
    done = run(READ, str(tmp_path / "link"), "watched")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\nFalse\n", "")


def test_a_pack_that_is_truncated_while_it_speaks_is_told(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(builtin_pack(), tmp_path / "a.pack"))
    done = run(SPEAK, str(folder))
    assert done.returncode == 1, done
    assert done.stdout.splitlines()[-1].endswith("instead of copying over them.")
    assert "was overwritten while it was in use: load the pack again" in done.stdout


def test_an_older_library_watches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_watch() is not None
    monkeypatch.setattr("edgetts.pack.mapped_files.find_library", lambda: None)
    assert find_watch() is None
