"""The main job on emulated armv7l boards, as their user does it: over ssh, and over rpyc."""

from __future__ import annotations

import json
import re
import signal
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from rkernel_launcher.cli.board_setup import NO_AUTHENTICATION
from tests.support.armv7l import Armv7l
from tests.support.boards import wait_until
from tests.support.commands import Run
from tests.support.emulator.image import SUITES
from tests.support.emulator.machine import RPYC_PORT
from tests.support.kernels import Frontend, interrupt, started

# What has been written since /run/before was, but not by sshd, IPython or jedi, which IPython asks
# for completions; and processes of ours.
LEFT = """
find / /dev/shm /run -xdev -path /usr -prune -o -newer /run/before ! -type d \\
    ! -path '*/.cache/rkernel/*' ! -path '*/.ipython/*' ! -path '*/.cache/jedi/*' \\
    ! -name utmp ! -name sshd.pid -print
find /tmp -mindepth 1
grep -al '[b]oard_agent' /proc/[0-9]*/cmdline 2>/dev/null || true
"""
pytestmark = pytest.mark.parametrize("board", SUITES, indirect=True)
over_ssh = pytest.mark.parametrize("added", ["ssh"], indirect=True)  # a start takes its time
HAS = {"bookworm": ("3.11.", "6.17."), "trixie": ("3.13.", "6.29.")}  # Python and ipykernel


@dataclass(frozen=True)
class Added:
    """A kernel that `rkernel add` has made: the way, what the command said, the kernelspec."""

    via: str
    said: Run
    spec: Path


@pytest.fixture(scope="module", params=["ssh", "rpyc"])
def added(request: pytest.FixtureRequest, board: Armv7l) -> Iterator[Added]:
    board.shell("touch /run/before")
    server = None
    options = ["--host", board.suite]
    if request.param == "rpyc":
        server = board.machine.start_rpyc()
        options = ["--via", "rpyc", "--host", "127.0.0.1", "--name", "over-rpyc"]
        options += ["--port", str(board.machine.port(RPYC_PORT))]
        options += ["--link-port", str(board.link_port)]
    said = board.rkernel("add", *options)
    name = "over-rpyc" if server else f"rkernel-{board.suite}"
    yield Added(request.param, said, board.specs / name)
    if server:
        board.signal(server, signal.SIGKILL)


@pytest.fixture(scope="module")
def shared(board: Armv7l, added: Added) -> Iterator[Frontend]:
    assert added.said.returncode == 0, added.said.stderr
    with started(board, spec=added.spec) as frontend:
        yield frontend


@pytest.fixture
def kernel(shared: Frontend) -> Frontend:
    """Give a kernel that is ready, started again where the test before has ended it."""
    if not shared.manager.is_alive():
        restart(shared, now=True)
    return shared


def test_add_says_what_it_found(board: Armv7l, added: Added) -> None:
    assert (added.said.returncode, added.said.stderr) == (0, "")
    python, ipykernel = HAS[board.suite]
    for words in ("Architecture: armv7l", f"Python:       {python}", f"ipykernel {ipykernel}"):
        assert words in added.said.stdout
    assert re.search(r"Board: +\S", added.said.stdout)
    assert re.search(r"Memory: +\d+ MB available of 23\d MB", added.said.stdout)
    assert (NO_AUTHENTICATION in added.said.stdout) == (added.via == "rpyc")


def test_add_writes_a_kernel_that_is_listed(board: Armv7l, added: Added) -> None:
    rows = json.loads(board.rkernel("list", "--json").stdout)
    (row,) = [row for row in rows if row["folder"] == str(added.spec)]
    assert (row["via"], row["machine"]) == (added.via, "armv7l")
    assert row["python"].startswith(HAS[board.suite][0])
    assert json.loads((added.spec / "kernel.json").read_text())["display_name"] in added.said.stdout


def test_the_agent_listens_where_it_must_and_nowhere_else(
    board: Armv7l, added: Added, kernel: Frontend
) -> None:
    (process,) = board.kernels()
    anywhere = [] if added.via == "ssh" else [("::", board.link_port)]
    assert list(listening(board, board.agent_of(process))) == anywhere
    # some versions of ipykernel have a port of their own, for what cells fork off
    assert {address for address, _ in listening(board, process)} <= {"127.0.0.1"}


def test_it_is_the_board_that_computes(board: Armv7l, kernel: Frontend) -> None:
    shown = kernel.run("import platform; print(platform.uname())").text()
    assert "node='board'" in shown and "machine='armv7l'" in shown
    assert board.shell("uname -r").strip() in shown


def test_an_exception_comes_with_its_traceback(kernel: Frontend) -> None:
    result = kernel.run("def colour(n):\n    return 255/n\n\ncolour(0)", stop_on_error=False)
    assert result.reply["content"]["ename"] == "ZeroDivisionError"
    shown = "\n".join(result.of("error")[0]["traceback"])
    assert "colour" in shown and "division by zero" in shown
    assert kernel.run("255/0").of("error")[0]["evalue"] == "division by zero"


def test_output_comes_while_the_cell_runs(kernel: Frontend) -> None:
    number = kernel.send(
        "import time\nfor i in range(4):\n    print(i, time.time())\n    time.sleep(0.5)"
    )
    came = []
    for i in range(4):
        kernel.until_printed(f"{i} ")
        came.append(time.monotonic())
    kernel.finish(number)
    assert came[-1] - came[0] > 1.0, "it came at one go"


def test_a_loop_is_interrupted_and_the_variables_stay(kernel: Frontend) -> None:
    assert interrupt(kernel, "while True: pass") < 5


def test_what_the_board_alone_has_is_completed(kernel: Frontend) -> None:
    kernel.run("only_on_the_board = 1")
    content = kernel.reply(kernel.client.complete("only_on_", 8))["content"]
    assert content["matches"] == ["only_on_the_board"]


def test_input_asks_here(kernel: Frontend) -> None:
    kernel.run("name = input('Name? ')", answer=lambda question: question["content"]["prompt"])
    assert kernel.value("name") == "'Name? '"


@pytest.mark.parametrize("now", [False, True])
def test_restart_makes_a_fresh_kernel_and_leaves_no_other(
    board: Armv7l, kernel: Frontend, now: bool
) -> None:
    (old,) = board.kernels()
    kernel.run("kept = 1")
    if now:
        kernel.send("while True: pass")
    restart(kernel, now)
    assert kernel.run("kept").reply["content"]["ename"] == "NameError"
    (new,) = board.kernels()
    assert new != old


def test_shutdown_ends_the_kernel_and_the_launcher(board: Armv7l, kernel: Frontend) -> None:
    kernel.control("shutdown_request", {"restart": False})
    assert kernel.wait_for_end(10) == 0
    assert not board.kernels()


@over_ssh
def test_a_launcher_that_is_killed_is_started_again_with_a_new_kernel(
    board: Armv7l, kernel: Frontend
) -> None:
    kernel.run("kept = 1")
    kernel.send("while True: pass")
    (old,) = board.kernels()
    kernel.signal(signal.SIGKILL)
    restart(kernel, now=True)
    (new,) = board.kernels()
    assert new != old
    assert kernel.run("kept").reply["content"]["ename"] == "NameError"


@over_ssh
def test_an_agent_that_is_killed_takes_its_kernel_with_it(board: Armv7l, kernel: Frontend) -> None:
    (process,) = board.kernels()
    board.signal(board.agent_of(process), signal.SIGKILL)
    wait_until(lambda: not board.kernels(), "the kernel on the board ends", 5)
    assert "its agent has ended" in kernel.reason(30)  # it logs in again to be sure
    assert kernel.wait_for_end(5) == 1
    assert "its agent has ended" in kernel.said()


@over_ssh
def test_a_kernel_that_is_killed_ends_the_launcher(board: Armv7l, kernel: Frontend) -> None:
    (process,) = board.kernels()
    board.signal(process, signal.SIGKILL)
    assert "was ended by signal 9 (SIGKILL)" in kernel.reason(3)
    assert kernel.wait_for_end(3) == 128 + signal.SIGKILL
    assert "was ended by signal 9 (SIGKILL)" in kernel.said()


def test_nothing_is_left_of_it(board: Armv7l, shared: Frontend) -> None:
    if shared.manager.is_alive():
        shared.manager.shutdown_kernel()
    board.end_agents()
    assert board.shell(LEFT).splitlines() == []


def restart(kernel: Frontend, now: bool) -> None:
    """Restart a kernel, and wait until it is ready."""
    kernel.manager.restart_kernel(now=now)
    kernel.client.wait_for_ready(timeout=kernel.limit)
    kernel.run("pass")  # what has come before may be the answers of its predecessor


def listening(board: Armv7l, process: int) -> list[tuple[str, int]]:
    """Return the addresses at which a process on the board accepts connections."""
    sockets = re.findall(r"socket:\[(\d+)\]", board.shell(f"ls -l /proc/{process}/fd"))
    found = []
    for line in board.shell("cat /proc/net/tcp /proc/net/tcp6").splitlines():
        fields = line.split()
        if fields[3] == "0A" and fields[9] in sockets:
            address, port = fields[1].split(":")
            words = struct.iter_unpack("<4s", bytes.fromhex(address))
            packed = b"".join(word[::-1] for (word,) in words)
            found.append((str(ip_address(packed)), int(port, 16)))
    return found
