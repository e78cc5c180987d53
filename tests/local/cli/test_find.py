"""`rkernel find`, `rkernel add` without a host, and which boards answer.

The PC is in a network of its own, the board in another one, and a cable joins them: no packet
leaves the two.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import adbutils
import pytest

from tests.support import adbd, avahi, namespaces, sshd
from tests.support.boards import Board
from tests.support.commands import rkernel
from tests.support.lan import BOARD, PC, Lan, lan
from tests.support.namespaces import Namespace
from tests.support.ports import unused_port
from tests.support.pythons import rpyc_folder

PI_MAC = "b8:27:eb:01:02:03"

NEW_HOST = ("--host-key", "accept-new")

RPYC = """
import sys
sys.path.insert(0, sys.argv[1])
from rpyc.utils.server import ThreadedServer
from rpyc.core.service import SlaveService
server = ThreadedServer(SlaveService, hostname=sys.argv[2], port=int(sys.argv[3]), reuse_addr=True)
server.listener.listen()
print("up", flush=True)
server.start()
"""
FLOOD = ("sh", "-c", "exec yes SSH-junk")
SILENT = ("sleep", "60")
HOSTILE = (
    "sh",
    "-c",
    r"printf 'SSH-2.0-\033[31mEvil\r\nSSH-2.0-OpenSSH_1 \033]0;x\r\n'; exec sleep 60",
)


@contextmanager
def ssh(network: Namespace, port: int = 22) -> Iterator[sshd.Server]:
    """Run a real sshd at a port of a network."""
    with (
        sshd.openssh(f"SetEnv PATH={os.environ['PATH']}") as server,
        namespaces.listening(network, port, *server.argv),
    ):
        yield server


@contextmanager
def rpyc(
    network: Namespace, port: int, address: str = BOARD, version: str = "6.0.2"
) -> Iterator[None]:
    """Run a SlaveService, of one rpyc, at a port of a network."""
    python, folder = rpyc_folder(version)
    command = network.within(python, "-I", "-c", RPYC, str(folder), address, str(port))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            yield
        finally:
            process.kill()


def row(**more: object) -> dict[str, object]:
    """Return what --json says of a board with ssh, but for what is said here."""
    usual = {"address": BOARD, "name": "", "model": "", "system": "Debian", "ways": {"ssh": 22}}
    return {**usual, "trouble": "", "found_by": ["mDNS"], "added_as": [], **more}


# --- mDNS ---------------------------------------------------------------------------------------


def test_a_host_that_publishes_its_ssh(home: Board) -> None:
    services = (("_ssh._tcp", 2222, ""), ("_device-info._tcp", 9, "model=Banana\u202e Pi"))
    with (
        lan() as net,
        ssh(net.board, 2222),
        avahi.published(net.board, home.folder / "avahi", "banana", *services),
    ):
        found = net.found()
        assert "\u202e" not in net.find("--json").stdout
        shown = net.find().stdout
    model = "Banana\u202e Pi"
    assert found == [row(name="banana.local", model=model, ways={"ssh": 2222})]
    assert r"Banana\u202e Pi, Debian" in shown and "\u202e" not in shown


def test_a_raspberry_pi_that_publishes_nothing(home: Board) -> None:
    with lan() as net, avahi.published(net.board, home.folder / "avahi", "raspberrypi"):
        pi = {"name": "raspberrypi.local", "model": "Raspberry Pi"}
        trouble = "neither ssh nor rpyc answers"
        assert net.found() == [row(**pi, ways={}, system="", trouble=trouble)]
        with ssh(net.board):
            assert net.found() == [row(**pi)]


def test_a_neighbour_is_asked_for_its_name(home: Board) -> None:
    with lan() as net, ssh(net.board), avahi.published(net.board, home.folder / "a", "kitchen"):
        assert net.found() == []
        talk_to(net, BOARD)
        assert net.found() == [row(name="kitchen.local")]


def test_a_workstation_without_ssh_is_no_board(home: Board) -> None:
    with lan() as net, avahi.published(net.board, home.folder / "avahi", "pc", workstation=True):
        assert net.found() == []
        with rpyc(net.board, 18812):
            ways = {"rpyc": 18812}
            assert net.found() == [row(name="pc.local", ways=ways, system="")]


# --- the PC's own addresses, and its neighbours' ------------------------------------------------


@pytest.mark.parametrize(
    ("pc", "board", "bits", "model"),
    [
        ("10.77.1.100", "10.77.1.1", 24, "perhaps a MaixCAM"),
        ("10.12.194.2", "10.12.194.1", 28, "Raspberry Pi"),
        ("192.168.42.9", "192.168.42.1", 24, "Milk-V Duo"),
    ],
)
def test_a_board_on_a_usb_cable(home: Board, pc: str, board: str, bits: int, model: str) -> None:
    with lan(pc, board, bits=bits) as net, ssh(net.board):
        assert net.found() == [row(address=board, model=model, found_by=["USB"])]


def test_a_raspberry_pi_by_its_mac_address(home: Board) -> None:
    with lan(mac=PI_MAC) as net, ssh(net.board):
        talk_to(net, BOARD)
        assert net.found() == [row(model="Raspberry Pi", found_by=["MAC"])]


def talk_to(net: Lan, address: str) -> None:
    """Have the PC learn a host's MAC address, as it does when somebody opens a connection."""
    code = f"import socket; socket.socket().connect_ex(({address!r}, 9))"
    net.pc.run(sys.executable, "-c", code)


# --- a scan -------------------------------------------------------------------------------------


def test_a_scan_tells_apart_what_answers(home: Board) -> None:
    hosts = [f"192.168.43.{number}" for number in range(44, 51)]
    with ExitStack() as stack:
        net = stack.enter_context(lan(PC, *hosts))
        openssh = stack.enter_context(sshd.openssh()).argv
        dropbear = stack.enter_context(sshd.dropbear()).argv
        for host, program in zip(hosts, (openssh, dropbear, FLOOD, HOSTILE, SILENT), strict=False):
            served = namespaces.listening(net.board, 22, *program, address=host)
            stack.enter_context(served)
        stack.enter_context(rpyc(net.board, 18812, hosts[5], "4.1.5"))
        stack.enter_context(rpyc(net.board, 18813, hosts[6]))
        assert net.found() == []
        found = net.found("--scan")
        assert "Searching for boards … " in net.find("--scan").stdout
    said = [(each["address"], each["system"], each["ways"]) for each in found]
    assert said == [
        (hosts[0], "Debian", {"ssh": 22}),
        (hosts[1], "dropbear", {"ssh": 22}),
        (hosts[5], "", {"rpyc": 18812}),
        (hosts[6], "", {"rpyc": 18813}),
    ]
    assert {by for each in found for by in each["found_by"]} == {"scan"}


def test_nobody_is_scanned_without_a_yes(home: Board) -> None:
    with (
        lan() as net,
        sshd.openssh() as server,
        namespaces.listening(net.board, 22, *server.argv) as log,
    ):
        run = net.at_terminal(["n"], "find")
        assert "every address in 192.168.43.0/24" in run.stdout
        assert "--host ADDRESS" in run.stderr
        assert f"Connection from {PC}" not in log()
        run = net.at_terminal(["y"], "find")
        assert f"Connection from {PC}" in log()
    assert BOARD in run.stdout and run.stderr == ""


def test_nothing_found_says_what_was_tried(home: Board) -> None:
    with lan() as net:
        run = net.find()
    for words in ("mDNS", "USB cable", "adb", "other network", "clients apart", "no sshd"):
        assert words in run.stderr, run.stderr


def test_no_network_at_all(home: Board) -> None:
    with namespaces.network() as alone:
        run = rkernel("find", "--scan", "--json", network=alone)
    assert (run.returncode, json.loads(run.stdout)) == (0, [])


# --- adb ----------------------------------------------------------------------------------------


def test_a_device_of_adb(home: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(unused_port()))
    monkeypatch.setenv("ADB_LOCAL_TRANSPORT_MAX_PORT", "1")  # it would look for emulators
    adb = adbutils.adb_path()
    with lan() as net:
        device = adbd.Device(net.board, dict(os.environ), tmp_path, f"{BOARD}:{adbd.PORT}")
        device.start()
        try:
            assert net.found() == []
            net.pc.run(adb, "connect", device.serial)
            (found,) = net.found()
            assert (found["address"], found["ways"]) == (f"adb:{device.serial}", {"adb": 0})
            run = net.rkernel("add", "--host", found["address"], "--no-check", "--name", "usb")
            assert run.returncode == 0, run.stderr
            assert net.found()[0]["added_as"] == ["usb"]
            assert answers(net.pc) == {"usb": True}
        finally:
            net.pc.run(adb, "kill-server")
            device.end()
        assert answers(net.pc) == {"usb": False}


# --- add without a host, and list ---------------------------------------------------------------


def answers(network: Namespace | None) -> dict[str, bool | None]:
    """Return what `rkernel list` says of each kernel."""
    run = rkernel("list", "--json", network=network)
    assert run.returncode == 0, run.stderr
    return {each["name"]: each["answers"] for each in json.loads(run.stdout)}


def test_the_only_board_is_proposed_and_added(home: Board) -> None:
    with lan("10.77.1.100", "10.77.1.1") as net, ssh(net.board) as server:
        let_in(home, server, "10.77.1.1")
        options = ["--python", sys.executable, "--ipykernel", "board"]
        run = net.at_terminal(["", ""], "add", *options)
        assert run.returncode == 0, run.stderr
        assert "perhaps a MaixCAM" in run.stdout
        assert "Account on the board [root]" in run.stdout
        assert host_of(home, "rkernel-10.77.1.1") == "--host=10.77.1.1"
        assert answers(net.pc) == {"rkernel-10.77.1.1": True}
        assert net.found()[0]["added_as"] == ["rkernel-10.77.1.1"]
        assert "yes" in net.rkernel("list").stdout


def test_one_of_several_boards_is_chosen(home: Board) -> None:
    hosts = [BOARD, "192.168.43.45"]
    with lan(PC, *hosts, mac=PI_MAC) as net:
        with ssh(net.board):
            for host in hosts:
                talk_to(net, host)
            run = net.at_terminal(["3", "2", "pi"], "add", "--no-check", *NEW_HOST)
            assert run.returncode == 0, run.stderr
            assert host_of(home, "rkernel-192.168.43.45") == "--host=pi@192.168.43.45"
            assert answers(net.pc) == {"rkernel-192.168.43.45": True}
        assert answers(net.pc) == {"rkernel-192.168.43.45": False}
    assert answers(None) == {"rkernel-192.168.43.45": False}


def test_a_board_with_rpyc_alone(home: Board) -> None:
    with lan(mac=PI_MAC) as net, rpyc(net.board, 18813):
        talk_to(net, BOARD)
        run = net.at_terminal(["y"], "add", "--no-check")
        assert run.returncode == 0, run.stderr
        assert host_of(home, f"rkernel-{BOARD}") == f"--host={BOARD}:18813"
        assert answers(net.pc) == {f"rkernel-{BOARD}": True}
        run = net.at_terminal(["n"], "add")
    assert run.returncode == 130 and run.stderr == ""


def test_a_board_without_a_way_is_shown_and_not_offered(home: Board) -> None:
    with lan(mac=PI_MAC) as net:
        talk_to(net, BOARD)
        run = net.at_terminal([], "add")
    assert run.returncode == 2
    assert "Raspberry Pi" in run.stdout and "no board that it could add" in run.stderr


def test_nothing_to_choose_from(home: Board) -> None:
    with lan() as net:
        run = net.at_terminal(["n"], "add")
        assert run.returncode == 2
        assert "clients apart" in run.stderr and "--host is missing" in run.stderr
        for options in ([], ["--yes"]):
            run = net.rkernel("add", *options)
            assert run.returncode == 2
            assert "--host is missing" in run.stderr and "rkernel find" in run.stderr


def test_whether_a_board_answers_is_not_always_known(home: Board) -> None:
    def added(name: str, *options: str) -> None:
        run = rkernel("add", "--name", name, "--no-check", *options)
        assert run.returncode == 0, run.stderr

    added("here", "--via", "local")
    added("jump", "--host", "board", "--jump", "gate", "--via", "ssh")
    added("gone", "--host", "board.invalid", "--via", "ssh")
    assert answers(None) == {"here": None, "jump": None, "gone": False}


def host_of(home: Board, name: str) -> str:
    argv = json.loads((home.specs / name / "kernel.json").read_text())["argv"]
    (host,) = [word for word in argv if word.startswith("--host=")]
    return str(host)


def let_in(home: Board, server: sshd.Server, address: str) -> None:
    """Have the server let this home's key in, and this home know the server."""
    folder = Path(home.environment["HOME"], ".ssh")
    server.authorize(sshd.keygen(folder / "id_ed25519"))
    (folder / "known_hosts").write_text(f"{address} {server.public_keys[0]}\n")
