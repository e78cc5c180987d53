"""`rkernel doctor` where something is wrong between this PC and a Python on the board."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rkernel_launcher import errors
from rkernel_launcher.errors import RkernelError
from tests.support import adb_server, namespaces, sshd
from tests.support.boards import Board
from tests.support.commands import LIMIT, Run, argv, rkernel
from tests.support.diagnosis import Diagnosis, diagnosis
from tests.support.ports import unused_port
from tests.support.remote import Remote


def doctor(*options: str) -> Diagnosis:
    return diagnosis(rkernel("doctor", *options))


def add(name: str, *options: str) -> None:
    run = rkernel("add", "--name", name, *options, "--no-check", "--yes")
    assert run.returncode == 0, run.stderr


def test_a_name_and_a_host_are_too_much(home: Board) -> None:
    run = rkernel("doctor", "it", "--host", "pi")
    assert run.returncode == 2 and "not both" in run.stderr


# --- this PC ------------------------------------------------------------------------------------


def test_a_kernel_that_nobody_added(home: Board) -> None:
    doctor("gone").ends("This PC", errors.NoSuchKernel, "gone")


def test_a_kernelspec_that_was_cut_off(home: Board) -> None:
    add("it", "--via", "local")
    path = home.specs / "it" / "kernel.json"
    path.write_text(path.read_text()[:100])
    doctor("it").ends("This PC", errors.KernelspecBroken, str(path.parent), "column")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.unlink(), "No such file"),
        (
            lambda path: path.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n'),
            "No module",
        ),
    ],
    ids=["gone", "bare"],
)
def test_a_kernelspec_whose_python_has_changed(
    home: Board, change: Callable[[Path], object], words: str
) -> None:
    add("it", "--via", "local")
    python = home.folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    path = home.specs / "it" / "kernel.json"
    spec = json.loads(path.read_text())
    path.write_text(json.dumps({**spec, "argv": [str(python), *spec["argv"][1:]]}))
    assert "kernelspec it" in doctor("it").good["This PC"]
    change(python)
    found = doctor("it")
    found.ends("This PC", errors.KernelspecWithoutPython, str(python), words, "--name it")


def test_what_an_older_rkernel_wrote(home: Board) -> None:
    add("it", "--via", "local")
    path = home.specs / "it" / "kernel.json"
    path.write_text(path.read_text().replace("--via=local", "--keep-alive=10m"))
    doctor("it").ends("This PC", errors.OldKernelspec, "--keep-alive")


def test_ssh_settings_that_make_no_sense(home: Board) -> None:
    folder = Path(home.environment["HOME"], ".ssh")
    folder.mkdir(mode=0o700)
    (folder / "config").write_text("Prot 22\n")
    doctor("--via", "ssh", "--host", "pi").ends("This PC", errors.SshConfigBroken, "prot")


# --- its name, its port -------------------------------------------------------------------------


def test_a_name_that_does_not_resolve(home: Board) -> None:
    found = doctor("--via", "ssh", "--host", "nowhere.invalid")
    found.ends("Name", errors.UnknownHost, "nowhere.invalid")


def test_a_forward_that_has_ended(home: Board) -> None:
    port = str(unused_port())
    found = doctor("--via", "ssh", "--host", "localhost", "--port", port)
    assert "127.0.0.1" in found.good["Name"]
    found.ends("Port", errors.PortNotForwarded, port)


def test_a_port_where_another_server_listens(home: Board) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        found = doctor("--via", "rpyc", "--host", "127.0.0.1", "--port", port)
    found.ends("Port", errors.NotRpyc, port, "says nothing")


NETWORK = (
    "ip link add usb0 type veth peer name gadget0",
    "ip address add 192.0.2.1/24 dev usb0",
    "ip link set usb0 up",
    "ip link set gadget0 up",
)
FIREWALL = "iptables -A INPUT -p tcp --dport 2222"


@pytest.mark.parametrize(
    ("host", "commands", "error"),
    [
        ("192.0.2.1", (), errors.PortRefused),
        ("192.0.2.1", (f"{FIREWALL} -j DROP",), errors.PortFiltered),
        ("192.0.2.1", ("iptables -A INPUT -i lo -j DROP",), errors.NoRoute),
        ("192.0.2.2", (), errors.NoRoute),  # nobody has that address on the cable
        ("198.51.100.1", (), errors.NoRoute),
    ],
    ids=["nobody listens", "the port is dropped", "all is dropped", "nobody is there", "no route"],
)
def test_a_port_that_does_not_answer(
    home: Board, host: str, commands: tuple[str, ...], error: type[RkernelError]
) -> None:
    settings = Path(home.environment["HOME"], ".ssh", "config")
    settings.parent.mkdir(mode=0o700)
    settings.write_text("Host *\n ConnectTimeout 2\n")
    options = ["--via", "ssh", "--host", host, "--port", "2222"]
    with namespaces.network(*NETWORK, *commands) as there:
        found = diagnosis(ran(there.within(*argv("doctor", *options))))
    assert host in found.good["Name"]
    found.ends("Port", error, "2222")


def ran(command: list[str]) -> Run:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT
    )


def test_a_jump_host_that_reaches_nothing(remote: Remote) -> None:
    settings = Path(remote.environment["HOME"], ".ssh", "config")
    port = str(unused_port())
    settings.write_text(
        settings.read_text() + f"Host far\n HostName 127.0.0.1\n Port {port}\n ProxyJump pi\n"
    )
    found = doctor("--via", "ssh", "--host", "far")
    assert "127.0.0.1" in found.good["Name"]
    found.ends("Port", errors.JumpFailed, port)
    options = [
        "--via",
        "ssh",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--jump",
        f"127.0.0.1:{unused_port()}",
    ]
    found = doctor(*options)  # nobody forwards anything: the jump host does not answer
    assert set(found.wrong) == {"Port"} and "forwards that port" not in found.remedies["Port"]


def test_nothing_answers_at_all(home: Board) -> None:
    port = str(unused_port())
    change = f"from rkernel_launcher.board import reach; reach.RPYC_PORT = {port}; "
    command = [*argv("doctor", "--host", "127.0.0.1", "--port", port)]
    command[command.index("-c") + 1] = change + command[command.index("-c") + 1]
    diagnosis(ran(command)).ends("Port", errors.NoTransport, "127.0.0.1")


def test_a_device_that_adb_does_not_have(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as real,
        adb_server.stand_in(real.getsockname()[1], devices="") as port,
    ):
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        doctor("--via", "adb").ends("Name", errors.NoDevice)
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "none")
        doctor("--via", "adb").ends("This PC", errors.AdbUnusable, "ANDROID_ADB_SERVER_PORT")


# --- host key, login, command, Python -----------------------------------------------------------


@pytest.mark.parametrize("engine", ["openssh", "paramiko"])
def test_a_host_key_that_is_new_and_one_that_has_changed(remote: Remote, engine: str) -> None:
    folder = Path(remote.environment["HOME"], ".ssh")
    options = ["--via", "ssh", "--ssh", engine, "--host", "pi"]
    for known in folder.glob("known_hosts*"):
        known.unlink()
    doctor(*options).ends("Host key", errors.UnknownHostKey, "pi")
    other = " ".join(sshd.keygen(folder / "other").split()[:2])
    settings = (folder / "config").read_text()
    names = [line.split()[1] for line in settings.splitlines() if "HostKeyAlias" in line]
    names += ["pi", f"[127.0.0.1]:{remote.network.port}"]
    (folder / "known_hosts").write_text("".join(f"{name} {other}\n" for name in names))
    doctor(*options).ends("Host key", errors.ChangedHostKey, "pi", "ssh-keygen -f")


@pytest.mark.parametrize("engine", ["openssh", "paramiko"])
def test_a_key_that_the_board_does_not_know(remote: Remote, engine: str) -> None:
    (remote.server.folder / "authorized_keys").write_text("")
    found = doctor("--via", "ssh", "--ssh", engine, "--host", "pi")
    assert {"Name", "Port", "Host key"} < set(found.good)
    found.ends("Login", errors.LoginRefused, "1 key", "ssh-copy-id")


def test_a_board_that_wants_a_password(home: Board) -> None:
    with sshd.openssh("PasswordAuthentication yes", "PubkeyAuthentication no") as server:
        known = Path(home.environment["HOME"], ".ssh", "known_hosts")
        known.parent.mkdir(mode=0o700)
        known.write_text(server.known_hosts)
        found = doctor("--via", "ssh", "--host", f"127.0.0.1:{server.port}")
    found.ends("Login", errors.PasswordNeeded, "rkernel add --host")


def test_a_server_that_runs_another_command(remote: Remote) -> None:
    config = remote.server.folder / "config"
    config.write_text("ForceCommand echo This account is closed.\n" + config.read_text())
    found = doctor("--via", "ssh", "--host", "pi")
    assert "with publickey" in found.good["Login"]
    found.ends("Command", errors.ShellEnded, "This account is closed", "startup files")


def test_a_startup_file_that_ends_the_shell(remote: Remote) -> None:
    Path(remote.environment["HOME"], ".bashrc").write_text("echo moving to fish; exec false\n")
    found = doctor("--via", "ssh", "--host", "pi")
    found.ends("Command", errors.ShellEnded, "moving to fish")


def test_a_command_that_ends_at_once(home: Board) -> None:
    found = doctor("--via", "command", "--command", "sh -c 'echo no such pod >&2; exit 4'")
    found.ends("Command", errors.CommandFailed, "no such pod", "status 4")


def test_a_python_that_is_not_there(remote: Remote) -> None:
    found = doctor("--via", "ssh", "--host", "pi", "--python", "/no/such/python")
    assert "Command" in found.good
    found.ends("Python", errors.NoPython, "/no/such/python")


def test_a_python_that_is_too_old(home: Board) -> None:
    python = home.folder / "python"
    python.write_text(
        '#!/bin/sh\nread line\necho; echo \'rkernel-first-stage: {"python": "2.7.18"}\'\n'
    )
    python.chmod(0o755)
    doctor("--via", "local", "--python", str(python)).ends("Python", errors.OldPython, "2.7")
