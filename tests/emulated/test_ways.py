"""What differs from board to board: passwords, other SSH servers, and little memory."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rkernel_launcher.errors import NoMemory
from tests.support.armv7l import Armv7l, booted
from tests.support.boards import wait_until
from tests.support.commands import Run, assert_refused, at_terminal
from tests.support.emulator.image import STUDENT_PASSWORD
from tests.support.emulator.machine import SSH_PORT
from tests.support.kernels import started

IDLE_SECONDS = 60.0  # after which an agent that has nothing to do ends itself
Machines = Callable[[str], Armv7l]


@pytest.fixture(scope="module")
def student(machines: Machines) -> Run:
    """Add a kernel for an account with a password, and have a key installed."""
    board = machines("bookworm")
    where = f"student@127.0.0.1:{board.machine.port(SSH_PORT)}"
    with pytest.MonkeyPatch.context() as change:
        for name, value in board.environment.items():
            change.setenv(name, value)
        return at_terminal([STUDENT_PASSWORD, "y"], "add", "--host", where, "--name", "student")


def test_a_password_is_asked_for_once(machines: Machines, student: Run) -> None:
    assert student.returncode == 0, student.stderr
    assert "without a password" in student.stdout
    board = machines("bookworm")
    for file in board.folder.rglob("*"):
        assert not file.is_file() or STUDENT_PASSWORD.encode() not in file.read_bytes(), file
    with started(board, spec=board.specs / "student") as kernel:
        assert kernel.value("__import__('os').getuid()") == "1000"
        assert kernel.value("__import__('os').getcwd()") == "'/home/student'"


def test_a_board_with_dropbear(machines: Machines) -> None:
    board, folder = machines("trixie"), "/etc/dropbear"
    made = board.shell(f"dropbearkey -t ed25519 -f {folder}/dropbear_ed25519_host_key")
    (key,) = re.findall(r"^ssh-ed25519 \S+", made, re.MULTILINE)
    with Path(board.environment["HOME"], ".ssh", "known_hosts").open("a") as known:
        known.write(f"[127.0.0.1]:{board.dropbear_port} {key}\n")
    server = board.machine.start(f"exec dropbear -F -E -p {board.dropbear_port}")
    try:
        options = ["--host", f"root@127.0.0.1:{board.dropbear_port}", "--name", "dropbear"]
        run = board.rkernel("add", *options, "--identity", str(board.machine.key))
        assert (run.returncode, run.stderr) == (0, "")
        assert "Architecture: armv7l" in run.stdout
        with started(board, spec=board.specs / "dropbear") as kernel:
            uname = kernel.run("import platform; print(platform.uname())").text()
            assert "machine='armv7l'" in uname
    finally:
        board.shell(f"kill -- -{server}")


def test_a_board_too_small_for_a_kernel() -> None:
    with booted("bookworm", memory=64) as board:
        assert_refused(board.rkernel("add", "--host", board.suite), NoMemory, board.suite)
        assert not board.specs.exists()


def test_a_cell_that_takes_all_memory(machines: Machines) -> None:
    board = machines("bookworm")
    with started(board) as kernel:
        (process,) = board.kernels()
        agent = board.agent_of(process)
        kernel.send("kept = []\nwhile True: kept.append(b'1' * 50_000_000)")
        assert kernel.wait_for_end(board.limit) == 128 + signal.SIGKILL, kernel.said()
        assert "was ended by Linux, because the board had no memory left" in kernel.said()
        assert agent in board.agents()


def test_an_agent_with_nothing_to_do_ends_itself(machines: Machines, student: Run) -> None:
    board = machines("bookworm")
    ours = "find /proc -maxdepth 1 -user student -name '[0-9]*' 2>/dev/null || true"
    wait_until(lambda: not board.shell(ours), "student's agent ends itself", IDLE_SECONDS + 30)
    assert not board.shell("find /tmp -user student")
    assert board.shell("ls -A /home/student/.cache").split() == ["rkernel"]
