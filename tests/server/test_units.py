"""The units of systemd: one source for packages and for `edgetts service`, and what systemd thinks of them."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.paths import TESTS

from edgetts.errors import UsageError
from edgetts.pack.load import open_pack
from edgetts.server.memory_limit import memory_limit
from edgetts.server.systemd import device_nodes
from edgetts.server.units import MARK, SERVICE, SOCKET, Installation, generic, quoted, service_unit, socket_unit, units

PACKAGED = TESTS.parent / "packaging" / "systemd"
DAEMON_PAGE = TESTS.parent / "docs" / "how-to" / "daemon.md"
FULL = Installation(
    is_system=True,
    command=("/usr/bin/env", "edgetts", "serve", "--pack", "/opt/a pack", "--token-file", "%d/token"),
    host="::",
    port=80,
    token_file=Path("/etc/edgetts/token"),
    group="audio",
    device_nodes=("/dev/nvmap", "/dev/nvhost-gpu"),
    memory_bytes=(3 << 30) + 1,
    is_local=False,
)
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")


def rows(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit, flags=re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("where", ["system", "user"])
def test_those_for_packages_are_made_of_the_same_text(where: str) -> None:
    """`python -m edgetts.server.units packaging/systemd` writes them."""
    for name, text in units(generic(where)).items():
        assert (PACKAGED / where / name).read_text(encoding="utf-8") == text
        assert text.startswith(MARK)


def analyze(folder: Path, written: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    for name, text in written.items():
        (folder / name).write_text(text)
    paths = [str(folder / name) for name in written]
    variables = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    return subprocess.run(
        ["systemd-analyze", *arguments, *paths], env=variables, capture_output=True, text=True, check=False
    )


@needs_systemd
@pytest.mark.parametrize(
    ("scope", "installation"),
    [
        ("--system", generic("system")),
        ("--user", generic("user")),
        ("--system", FULL),
        ("--user", dataclasses.replace(generic("user"), variables={"EDGETTS_VOICE": 'a "b" 100% $HOME'}, socket=None)),
    ],
)
def test_systemd_finds_nothing_wrong(scope: str, installation: Installation, tmp_path: Path) -> None:
    done = analyze(tmp_path, units(installation), scope, "verify", "--man=no")
    assert done.returncode == 0, done.stderr
    assert "edgetts" not in done.stderr, done.stderr


@needs_systemd
def test_exposure_is_what_the_page_says(tmp_path: Path) -> None:
    done = analyze(tmp_path, {SERVICE: service_unit(generic("system"))}, "security", "--offline=yes", "--no-pager")
    found = re.search(r"exposure level for edgetts.service: ([\d.]+)", done.stdout)
    said = re.search(r"exposure\s+as\s+([\d.]+)", DAEMON_PAGE.read_text(encoding="utf-8"))
    assert found is not None and said is not None
    assert abs(float(found[1]) - float(said[1])) < 0.3  # versions of systemd weigh differently


def test_the_service_tells_when_it_is_ready_and_that_it_lives() -> None:
    for where in ("system", "user"):
        service = rows(service_unit(generic(where)))
        assert service["Type"] == ["notify"] and int(service["WatchdogSec"][0]) > 0
        assert service["Restart"] == ["on-failure"] and service["Requires"] == [SOCKET]
        assert int(service["TimeoutStopSec"][0]) > int(service["ExecStart"][0].split()[-1])


def test_the_service_of_the_machine_has_folders_and_devices() -> None:
    service = rows(service_unit(FULL))
    assert service["StateDirectory"] == service["CacheDirectory"] == ["edgetts"]
    assert {"char-alsa rw", "char-nvidia* rw", "char-nvhost* rw", "/dev/nvmap rw"} <= set(service["DeviceAllow"])
    assert service["MemoryMax"] == ["3073M"]
    assert service["LoadCredential"] == ["token:/etc/edgetts/token"]
    assert service["ExecStart"][0].endswith('serve --pack "/opt/a pack" --token-file %d/token')
    assert "IPAddressDeny" not in service and "IPAddressDeny" in rows(service_unit(generic("system")))
    assert "sound.target" in service["After"][0]


def test_waits_grow_where_systemd_can_do_that() -> None:
    old, new = (rows(service_unit(dataclasses.replace(FULL, systemd=version))) for version in (252, 254))
    assert "RestartSteps" not in old and int(old["StartLimitBurst"][0]) > 1
    assert int(new["RestartMaxDelaySec"][0]) > int(new["RestartSec"][0]) and new["StartLimitIntervalSec"] == ["0"]


def test_sockets() -> None:
    full, plain = rows(socket_unit(FULL)), rows(socket_unit(generic("user")))
    assert full["ListenStream"] == ["%t/edgetts.sock", "[::]:80"]
    assert (full["SocketMode"], full["SocketGroup"]) == (["0660"], ["audio"])
    assert plain["ListenStream"] == ["%t/edgetts.sock", "127.0.0.1:8880"] and plain["SocketMode"] == ["0600"]
    assert rows(socket_unit(dataclasses.replace(FULL, socket=None)))["ListenStream"] == ["[::]:80"]


def test_words_are_quoted() -> None:
    assert [quoted(word) for word in ("plain", "", "a b", 'a"b\\', "100%")] == [
        *("plain", '""', '"a b"', '"a\\"b\\\\"', "100%%")
    ]
    with pytest.raises(UsageError, match="cannot hold"):
        quoted("a\nExecStart=/bin/false")


def test_the_limit_of_memory_is_far_above_what_is_needed(mini_pack: Path) -> None:
    pack = open_pack(mini_pack)
    one, four = (memory_limit(pack, "exact", streams=n) for n in (1, 4))
    assert pack.manifest.total_bytes < one <= four < 64 << 30
    assert memory_limit(pack, "exact", streams=1, budget=4 << 30) >= 6 << 30


def test_device_nodes(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").write_text("")  # a file is no device
    (tmp_path / "nvmap").symlink_to("/dev/null")
    (tmp_path / "sda").symlink_to("/dev/zero")
    assert device_nodes(tmp_path) == (str(tmp_path / "nvmap"),)
