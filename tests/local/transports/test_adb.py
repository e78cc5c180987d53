"""Boards that adb reaches: Debian's adbd, in a network of its own, and a real adb server."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import adbutils
import pytest

from rkernel_launcher import errors
from rkernel_launcher.board import bootstrap, reach
from rkernel_launcher.target import RPYC_PORT, Target
from rkernel_launcher.transports.adb import client as adb
from tests.support import adbd, boards
from tests.support.adb_server import stand_in
from tests.support.boards import Board, wait_until
from tests.support.commands import PYTHON, Run, assert_refused, rkernel
from tests.support.kernels import Frontend, started
from tests.support.ports import unused_port

LIMIT = 30.0  # seconds for anything here to happen
LINES = 80
PRINTING = f"import time\nfor i in range({LINES}): print(i, flush=True); time.sleep(0.05)"
ALL = "".join(f"{i}\n" for i in range(LINES))
CHECKED = ("--python", PYTHON)

# As MaixPy3 has it, at its port; and a server that sends back what it gets.
SERVICE = """
from rpyc.utils.server import ThreadedServer
from rpyc.core.service import SlaveService
server = ThreadedServer(SlaveService, hostname="127.0.0.1", port=int(__import__("sys").argv[1]))
server.listener.listen()
print("up", flush=True)
server.start()
"""
ECHO = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    print("up", flush=True)
    while True:
        sock, _ = listener.accept()
        while data := sock.recv(1 << 16):
            sock.sendall(data)
"""


class Pc:
    """This machine as a PC, its adb server, and a device."""

    def __init__(self, board: Board, server: adbutils.AdbClient, device: adbd.Device) -> None:
        self.board, self.server, self.device = board, server, device

    @property
    def target(self) -> Target:
        return Target(host=f"adb:{self.device.serial}", via="adb", python=PYTHON)

    def plug_in(self, name: str = "") -> None:
        """Have the server know the device, by its serial or another name."""
        said = self.server.connect(name or self.device.serial, LIMIT)
        assert "connected to" in said, said

    def unplug(self) -> None:
        """Have the server know no device."""
        for found in self.server.list():
            self.server.disconnect(found.serial, raise_error=True)

    @contextmanager
    def running(self, program: str, port: int) -> Iterator[None]:
        """Run a program on the device, which listens at a port there."""
        with self.device.run(PYTHON, "-c", program, str(port)) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"up\n"
                yield
            finally:
                process.kill()

    def spec(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.board.specs / name / "kernel.json").read_text()))


@pytest.fixture(scope="module")
def started_pc() -> Iterator[Pc]:
    with (
        boards.local() as board,
        adbd.server(board.environment, board.folder) as server,
        adbd.device(board.environment, board.folder / "device") as device,
    ):
        yield Pc(board, server, device)


@pytest.fixture
def pc(started_pc: Pc, monkeypatch: pytest.MonkeyPatch) -> Pc:
    """Give a PC whose server has the device and no other."""
    for name, value in started_pc.board.environment.items():
        monkeypatch.setenv(name, value)
    adb.server.connect()
    started_pc.unplug()
    started_pc.plug_in()
    return started_pc


@pytest.fixture
def kernel(pc: Pc) -> Iterator[Frontend]:
    options = ("--via", "adb", "--host", pc.target.host, *CHECKED)
    with started(replace(pc.board, options=options)) as found:
        yield found


def printed(run: Run) -> str:
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


# --- a kernel -----------------------------------------------------------------------------------


def test_the_only_device_is_taken_and_kept_by_its_serial(pc: Pc) -> None:
    printed(rkernel("add", "--via", "adb", *CHECKED, "--name", "only"))
    host = f"--host=adb:{pc.device.serial}"
    assert pc.spec("only")["argv"][3:6] == [host, "--via=adb", f"--python={PYTHON}"]
    with started(pc.board, spec=pc.board.specs / "only") as kernel:
        assert kernel.run("print('ä' * 3)").text() == "äää\n"
        assert len(printed(rkernel("ps", "only")).splitlines()) == 2
    printed(rkernel("remove", "only", "--purge"))
    assert not Path(pc.board.environment["XDG_CACHE_HOME"], "rkernel").exists()


def test_a_device_of_the_network_is_connected_to(pc: Pc) -> None:
    pc.unplug()
    printed(rkernel("add", "--host", f"adb:{pc.device.serial}", *CHECKED, "--name", "network"))
    assert pc.spec("network")["metadata"]["rkernel"]["via"] == "adb"
    pc.unplug()
    with started(pc.board, spec=pc.board.specs / "network") as kernel:
        assert kernel.run("print(1)").text() == "1\n"


def adbd_restarts(pc: Pc) -> None:
    pc.device.end()
    pc.device.start()


def server_is_killed(pc: Pc) -> None:
    pc.server.server_kill()


def device_is_unplugged(pc: Pc) -> None:
    pc.unplug()


@pytest.mark.parametrize("cut", [adbd_restarts, server_is_killed, device_is_unplugged])
def test_no_line_is_lost(pc: Pc, kernel: Frontend, cut: Callable[[Pc], None]) -> None:
    number = kernel.send(PRINTING)
    begun = kernel.until_printed("10\n")
    cut(pc)
    wait_until(lambda: "the link is back" in kernel.log(), "the link is back", LIMIT)
    result = kernel.finish(number)
    output = [m["content"] for m in begun + result.published if m["msg_type"] == "stream"]
    assert "".join(part["text"] for part in output if part["name"] == "stdout") == ALL


def test_the_server_is_started_and_says_nothing(pc: Pc) -> None:
    pc.server.server_kill()
    run = rkernel("add", "--host", f"adb:{pc.device.serial}", *CHECKED, "--name", "first")
    assert "daemon" not in printed(run)


# --- a program's bytes --------------------------------------------------------------------------


def test_what_is_printed_stays_out_of_the_stream(pc: Pc) -> None:
    """The service mixes stderr into it, and even the Python may print before our code runs."""
    python = pc.board.folder / "python"
    python.write_text(f'#!/bin/sh\necho noise\necho noise >&2\nexec {PYTHON} "$@"\n')
    python.chmod(0o755)
    data = os.urandom(3_000_000)
    start = adb.transport(pc.target, None)
    with closing(bootstrap.open_session(start, str(python), LIMIT)) as session:
        session.execute(
            "import json, os, hashlib, sys\n"
            "for number in (1, 2): os.write(number, b'x' * 65536)\n"
            "print('x', flush=True), print('x', file=sys.stderr, flush=True)\n"
            "def sha(data): return json.dumps(hashlib.sha256(data).hexdigest())\n"
            "def text(n): return json.dumps('é' * n)"
        )
        assert len(str(session.call("sha", data))) == 64
        assert session.call("text", 1_000_000) == "é" * 1_000_000


def test_words_are_quoted_for_the_shell_there(pc: Pc) -> None:
    start = adb.transport(pc.target, None)
    words = [
        PYTHON,
        "-c",
        "import sys; print(ascii(sys.argv[1:]))",
        "a b",
        "$HOME",
        "'",
        '"',
        "",
        "ü",
    ]
    stream = start(words, b"", LIMIT)
    with closing(stream):
        said = b""
        while part := stream.read(1 << 16, LIMIT):
            said += part
    assert said.decode() == ascii(words[3:]) + "\n"


def test_a_program_ends_with_its_stream(pc: Pc) -> None:
    start = adb.transport(pc.target, None)
    stream = start(
        [PYTHON, "-c", "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"],
        b"",
        LIMIT,
    )
    pid = int(stream.read(100, LIMIT))
    stream.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the program ends", LIMIT)


def test_a_board_without_python(pc: Pc) -> None:
    run = rkernel("add", "--via", "adb", "--python", "no-such-python")
    assert_refused(run, errors.NoPython, "no-such-python: not found")


def test_a_program_that_never_answers(pc: Pc) -> None:
    with pytest.raises(errors.BoardSilent):
        adb.transport(pc.target, None)([PYTHON, "-c", "open(0).read()"], b"", 0.3)


# --- ports of the device ------------------------------------------------------------------------


def test_a_port_of_the_device_needs_no_forward(pc: Pc) -> None:
    dial = adb.dial(pc.target, None)
    data = os.urandom(1 << 16)
    with pytest.raises(errors.PortRefused, match="port 22"):
        dial(22)
    with pc.running(ECHO, 22), closing(dial(22)) as stream:
        stream.write(data, LIMIT)
        got = b""
        while len(got) < len(data):
            got += stream.read(1 << 16, LIMIT)
    assert got == data
    with pytest.raises(OSError):  # it is the device's, not this machine's
        socket.create_connection(("127.0.0.1", RPYC_PORT), LIMIT).close()


@pytest.fixture
def old(pc: Pc, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pc]:
    """Give a PC with a device whose adbd starts no programs over `exec:`."""
    with stand_in(pc.server.port, refused="exec:") as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        yield pc


def test_an_old_adbd_is_reached_over_its_rpyc_service(old: Pc) -> None:
    port = str(unused_port())
    with old.running(SERVICE, RPYC_PORT):
        run = rkernel("add", "--via", "adb", *CHECKED, "--link-port", port, "--name", "old")
        printed(run)
        with closing(reach.reach(replace(old.target, link_port=int(port)))) as board:
            board.prepare()
            agent = board.start_agent()
            assert board.connector.bind == f"127.0.0.1:{port}"
            board.redial(agent).close()
            old.board.end_agents()
            with pytest.raises(errors.AgentRefused, match=port):
                board.redial(agent)


def test_an_old_adbd_without_rpyc(old: Pc) -> None:
    assert_refused(rkernel("add", "--via", "adb", *CHECKED), errors.NoExec, old.device.serial)


def test_a_port_that_was_forwarded_by_hand(pc: Pc) -> None:
    """Case: `adb forward tcp:PORT tcp:18812`, and then --via rpyc."""
    port = unused_port()
    pc.server.forward(pc.device.serial, f"tcp:{port}", f"tcp:{RPYC_PORT}")
    with pc.running(SERVICE, RPYC_PORT):
        link_port = str(unused_port())
        options = ("--via", "rpyc", "--host", f"127.0.0.1:{port}", "--link-port", link_port)
        run = rkernel("add", *options, *CHECKED)
        pc.board.end_agents()
    assert_refused(run, errors.CheckFailed, link_port, errors.AgentNotForwarded.remedy)
    assert "--via adb" in run.stderr


# --- which device -------------------------------------------------------------------------------


def test_several_devices_are_listed(pc: Pc) -> None:
    other = pc.device.serial.replace("127.0.0.1", "localhost")
    pc.plug_in(other)
    run = rkernel("add", "--via", "adb", *CHECKED)
    assert_refused(run, errors.SeveralDevices, pc.device.serial, other)
    printed(rkernel("add", "--host", f"adb:{other}", *CHECKED, "--name", "other"))


def test_no_device(pc: Pc) -> None:
    pc.unplug()
    assert_refused(rkernel("add", "--via", "adb"), errors.NoDevice)
    for options in (("--host", "adb:20080411"), ("--via", "adb", "--host", "20080411")):
        assert_refused(rkernel("add", *options), errors.UnknownDevice, "20080411")


def test_nobody_listens_at_a_device_of_the_network(pc: Pc) -> None:
    port = unused_port()
    run = rkernel("add", "--host", f"adb:127.0.0.1:{port}")
    assert_refused(run, errors.AdbFailed, str(port), "refused")


UDEV = "missing udev rules? user is in the plugdev group"
STATES = {
    "20080411 unauthorized usb:1-4 transport_id:1\n": errors.DeviceUnauthorized,
    f"20080411 no permissions ({UDEV}); see [http://a.b] usb:1-4 transport_id:1\n": (
        errors.DeviceForbidden
    ),
    "20080411 offline usb:1-4 transport_id:1\n": errors.DeviceNotReady,
    "20080411 recovery usb:1-4 transport_id:1\n": errors.DeviceNotReady,
}


@pytest.mark.parametrize(("devices", "error"), STATES.items())
@pytest.mark.parametrize("host", ["", "adb:20080411", "adb:usb:1-4"])
def test_a_device_that_cannot_be_used(
    pc: Pc,
    monkeypatch: pytest.MonkeyPatch,
    devices: str,
    error: type[errors.RkernelError],
    host: str,
) -> None:
    with stand_in(pc.server.port, devices=devices) as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        with pytest.raises(error, match=host.removeprefix("adb:") or "20080411"):
            adb.find(host)


def test_devices_of_one_serial_are_told_apart_by_their_place(
    pc: Pc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boards of one kind may all have the same."""
    devices = "20080411 device usb:1-4 transport_id:1\n20080411 device usb:1-5 transport_id:2\n"
    with stand_in(pc.server.port, devices=devices) as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        for host in ("", "adb:20080411"):
            with pytest.raises(errors.SeveralDevices, match="usb:1-4, usb:1-5"):
                adb.find(host)
        assert adb.find("adb:usb:1-5") == "adb:usb:1-5"


def test_a_device_in_use_beside_one_that_is_not_ready(
    pc: Pc, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = "phone unauthorized usb:1-4 transport_id:1\nboard device usb:1-5 transport_id:2\n"
    with stand_in(pc.server.port, devices=devices) as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        assert adb.find("") == "adb:board"


# --- what this PC lacks -------------------------------------------------------------------------


def test_adbutils_is_not_installed(pc: Pc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbutils", None)  # it cannot be imported then
    with pytest.raises(errors.AdbMissing, match=r'pip install "rkernel\[adb\]"'):
        adb.find("")


@pytest.mark.parametrize(
    ("program", "detail"), [("/bin/false", "does not start"), ("/no/such/adb", "/no/such/adb")]
)
def test_adb_does_not_start(
    pc: Pc, monkeypatch: pytest.MonkeyPatch, program: str, detail: str
) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(unused_port()))
    monkeypatch.setenv("ADBUTILS_ADB_PATH", program)
    assert_refused(rkernel("add", "--via", "adb"), errors.AdbUnusable, detail)


def test_a_senseless_port_of_the_server(pc: Pc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "usb")
    run = rkernel("add", "--via", "adb")
    assert_refused(run, errors.AdbUnusable, "ANDROID_ADB_SERVER_PORT")


@pytest.mark.parametrize(
    "options",
    [
        ("--via", "ssh", "--host", "adb:20080411"),
        ("--host", "adb:"),
    ],
)
def test_options_that_contradict_each_other(pc: Pc, options: tuple[str, ...]) -> None:
    assert_refused(rkernel("add", *options), errors.BadOption, "--host")


def test_a_device_has_no_user_and_no_port(pc: Pc) -> None:
    run = rkernel("add", "--host", "adb:20080411", "--port", "22")
    assert run.returncode == 2 and "leave out --user and --port" in run.stderr
