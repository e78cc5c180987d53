"""`rkernel doctor` where something is wrong on the board."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rkernel_launcher import errors
from rkernel_launcher.board import agent_archive
from rkernel_launcher.errors import RkernelError
from tests.support import namespaces
from tests.support.boards import ROOT, Board
from tests.support.commands import (
    LIMIT,
    PYTHON,
    argv,
    disk,
    fill,
    rkernel,
    slave_service,
    wrapper,
)
from tests.support.diagnosis import Diagnosis, diagnosis
from tests.support.ports import unused_port
from tests.support.remote import Remote
from tests.support.requirements import skip_or_fail

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
RUNGS = ["Command", "Python", "Clock", "Disk", "Code", "Packages", "Memory", "Agent", "Link"]


def doctor(*options: str) -> Diagnosis:
    return diagnosis(rkernel("doctor", *options))


def python(home: Board, *before: str) -> str:
    """Write a Python that another program starts."""
    path = home.folder / "python"
    path.write_text("#!/bin/sh\n" + "\n".join(before) + "\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("engine", ["openssh", "paramiko"])
def test_all_is_well(remote: Remote, engine: str) -> None:
    add = ["add", "--name", "it", "--ssh", engine, *remote.options, "--no-check"]
    assert rkernel(*add).returncode == 0
    found = doctor("it")
    assert found.wrong == {}
    assert list(found.good) == ["This PC", "Name", "Port", "Host key", "Login", *RUNGS, "Kernel"]
    assert "round trip" in found.good["Link"] and "MB/s up" in found.good["Link"]
    assert ("OpenSSH" if engine == "openssh" else "paramiko") in found.good["Login"]
    assert "sent now" in found.good["Code"] or "it was there" in found.good["Code"]
    assert remote.kernels() == set()


def test_all_is_well_over_rpyc(home: Board) -> None:
    with slave_service() as service:
        ports = ["--port", str(service), "--link-port", str(unused_port())]
        found = doctor("--via", "rpyc", "--host", "127.0.0.1", *ports)
        home.end_agents()
    assert found.wrong == {}
    assert "anyone" in found.good["Login"] and found.last == "Kernel"


def test_a_clock_that_is_wrong_is_no_reason_to_stop(home: Board) -> None:
    """Only the bootstrap session sees it: kernels hang with this library, not with the clock."""
    if FAKETIME is None:
        skip_or_fail("faketime is not installed")
    fake = f"export FAKETIME=-10d DONT_FAKE_MONOTONIC=1 LD_PRELOAD={FAKETIME}"
    case = f'case "$*" in *board_agent*) unset LD_PRELOAD;; *) {fake};; esac'
    found = doctor("--via", "local", "--python", python(home, case, f'exec {PYTHON} "$@"'))
    found.names("Clock", errors.ClockOff, "864000 s behind", "date -s")
    assert set(found.wrong) == {"Clock"} and found.last == "Kernel"


# --- disks --------------------------------------------------------------------------------------


def test_a_disk_that_is_full(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    with disk(home.folder / "disk", "size=256k") as place:
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        fill(place)
        found = doctor("--via", "local")
    assert "Clock" in found.good
    found.names("Disk", errors.NoSpace, f"{place}/rkernel")
    found.names("Code", errors.NoSpace, f"{place}/rkernel/code-")
    assert found.last == "Code"


def test_a_disk_without_inodes(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    with disk(home.folder / "disk", "size=1m,nr_inodes=8") as place:
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        with pytest.raises(OSError, match="No space"):
            for number in range(9):
                (place / str(number)).touch()
        found = doctor("--via", "local")
    found.names("Disk", errors.NoInodes, f"{place}/rkernel", "df -i")
    assert found.last == "Code"


def test_a_home_that_cannot_be_written(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    with disk(home.folder / "disk", "ro") as place:
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        found = doctor("--via", "local")
    found.names("Disk", errors.CacheUnusable, f"{place}/rkernel", "Read-only")
    found.names("Code", errors.CacheUnusable, f"{place}/rkernel")
    assert found.last == "Code"


def test_a_tmp_that_cannot_be_written(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python of the board sees a /tmp that cannot be written; where its home is, it can."""
    with disk(home.folder / "disk") as place:
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        mount = "mount --rbind /tmp /tmp && mount -o remount,ro,bind /tmp"
        start = f'exec unshare --mount sh -c \'{mount} && exec {PYTHON} "$@"\' sh "$@"'
        found = doctor("--via", "local", "--python", python(home, start))
        home.end_agents()
    found.names("Disk", errors.TmpUnusable, "/tmp", "Read-only")
    assert "Code" in found.good


# --- our code, packages, memory -----------------------------------------------------------------


def test_code_that_a_power_cut_has_damaged(home: Board) -> None:
    assert doctor("--via", "local").wrong == {}
    home.end_agents()
    code = Path(home.environment["XDG_CACHE_HOME"], f"rkernel/code-{agent_archive.version()}")
    os.truncate(code / "board_agent" / "bootstrap" / "remote_calls.py", 100)
    doctor("--via", "local").ends("Code", errors.CodeDamaged, str(code))
    shutil.rmtree(code)
    assert "sent now" in doctor("--via", "local").good["Code"]


def test_packages_that_are_missing(home: Board) -> None:
    start = f'exec {PYTHON} -S "$@"'
    add = ["add", "--name", "it", "--via", "local", "--python", python(home, start)]
    assert rkernel(*add, "--ipykernel", "board", "--no-check").returncode == 0
    found = doctor("it")
    assert "Code" in found.good
    found.ends("Packages", errors.NoIpykernel, "ipykernel")


def test_memory_that_is_short_is_no_reason_to_stop(home: Board) -> None:
    said = home.folder / "meminfo"
    said.write_text("MemTotal: 60000 kB\nMemFree: 900 kB\nMemAvailable: 5000 kB\n")
    mount = f"mount --bind {said} /proc/meminfo"
    start = f'exec unshare --mount sh -c \'{mount} && exec {PYTHON} "$@"\' sh "$@"'
    found = doctor("--via", "local", "--python", python(home, start))
    found.names("Memory", errors.NoMemory, "4 MB of memory available")
    assert set(found.wrong) == {"Memory"} and found.last == "Kernel"


# --- agent, link, kernel, camera ----------------------------------------------------------------


@contextmanager
def other_agent(home: Board, *options: str) -> Iterator[None]:
    """Run an agent of another version."""
    other = home.folder / "other"
    shutil.copytree(ROOT / "board_agent", other / "board_agent")
    command = [PYTHON, "-m", "board_agent", "--code", "0123456789ab", *options]
    subprocess.run(command, cwd=other, stdout=subprocess.PIPE, check=True, timeout=LIMIT)
    try:
        yield
    finally:
        home.end_agents()


def test_an_agent_of_another_version_beside_ours(home: Board) -> None:
    with other_agent(home):
        found = doctor("--via", "local")
    assert found.wrong == {}
    assert "of another version of rkernel" in found.good["Agent"]


def test_an_agent_of_another_version_at_our_port(home: Board) -> None:
    port = str(unused_port())
    with slave_service() as service, other_agent(home, "--bind", f":{port}"):
        options = ["--host", "127.0.0.1", "--port", str(service), "--link-port", port]
        found = doctor("--via", "rpyc", *options)
    found.ends("Agent", errors.OtherAgentHasPort, port, "rkernel stop")


def test_another_program_at_the_agents_port(home: Board) -> None:
    with slave_service() as service, socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = ["--host", "127.0.0.1", "--port", str(service), "--link-port", port]
        found = doctor("--via", "rpyc", *options)
    found.ends("Agent", errors.LinkPortTaken, port)


@pytest.mark.parametrize(
    ("rule", "error"),
    [("DROP", errors.PortFiltered), ("REJECT --reject-with tcp-reset", errors.AgentNotForwarded)],
    ids=["dropped", "rejected"],
)
def test_a_firewall_before_the_agents_port(
    home: Board, rule: str, error: type[RkernelError]
) -> None:
    firewall = f"iptables -A INPUT -p tcp --dport 2223 -j {rule}"
    with (
        namespaces.network(firewall) as there,
        slave_service(within=there.within) as service,
    ):
        options = ["--host", "127.0.0.1", "--port", str(service), "--link-port", "2223"]
        run = subprocess.run(
            there.within(*argv("doctor", "--via", "rpyc", *options)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        home.end_agents()
    found = diagnosis(run)
    assert "Agent" in found.good
    found.ends("Link", error, "2223")


def test_a_kernel_that_ends_at_once(home: Board) -> None:
    start = wrapper(home.folder / "python", "*'board_agent.kernel '*) echo no camera >&2; exit 3;;")
    add = ["add", "--name", "it", "--via", "local", "--python", start, "--warm-start", "never"]
    assert rkernel(*add, "--no-check").returncode == 0
    found = doctor("it")
    assert list(found.good) == ["This PC", *RUNGS]
    found.ends("Kernel", errors.CheckFailed, "this machine")


@pytest.fixture
def camera() -> Iterator[Path]:
    """Give a camera that belongs to somebody else."""
    path = Path("/dev/video97")
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.chown(path, 54321, 54321)
    except OSError:
        skip_or_fail("making a device needs root")
    try:
        yield path
    finally:
        path.unlink()


def test_a_camera_that_the_account_may_not_use(home: Board, camera: Path) -> None:
    """The account is root without the right to use what is not its own."""
    caps = "-dac_override,-dac_read_search"
    command = f"setpriv --bounding-set {caps} --inh-caps {caps}"
    found = doctor("--via", "command", "--command", command, "--python", PYTHON)
    found.ends("Camera", errors.CameraForbidden, str(camera), "usermod -aG video")
