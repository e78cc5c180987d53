"""What differs from board to board: passwords, other SSH servers, and little memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from armv7l import Armv7l, booted
from boards import environment, wait_until
from commands import Run, assert_refused, at_terminal
from emulator.image import STUDENT_PASSWORD
from emulator.machine import SSH_PORT
from kernels import started

from rkernel_launcher.errors import NoMemory

pytestmark = pytest.mark.board

IDLE_SECONDS = 60.0  # after which an agent that has nothing to do ends itself
Machines = Callable[[str], Armv7l]


@pytest.fixture(scope="module")
def pc(machines: Machines) -> Iterator[Path]:
    """Give the kernelspecs of a PC with an empty home, but for the host keys of a board."""
    board = machines("bookworm")
    folder = board.folder / "student"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as change:
        for name, value in environment(folder).items():
            change.setenv(name, value)
        settings = folder / "home" / ".ssh"
        settings.mkdir(mode=0o700)
        (settings / "known_hosts").write_text(board.machine.known_hosts.read_text())
        yield folder / "home" / "jupyter" / "data" / "kernels"


@pytest.fixture(scope="module")
def student(machines: Machines, pc: Path) -> Run:
    """Add a kernel for an account with a password, and have a key installed."""
    where = f"student@127.0.0.1:{machines('bookworm').machine.port(SSH_PORT)}"
    return at_terminal([STUDENT_PASSWORD, "y"], "add", "--host", where, "--name", "student")


def test_a_password_is_asked_for_once(machines: Machines, pc: Path, student: Run) -> None:
    assert student.returncode == 0, student.stderr
    assert "without a password" in student.stdout
    for file in pc.parents[2].rglob("*"):
        assert not file.is_file() or STUDENT_PASSWORD.encode() not in file.read_bytes(), file
    board = machines("bookworm")
    with started(board, spec=pc / "student") as kernel:
        assert kernel.value("__import__('os').getuid()") == "1000"
        (process,) = board.kernels()
        assert "student" in board.shell(f"ps -o user= -p {process}; ps -o user= -p $(ps -o ppid= -p {process})").split()


def test_a_board_with_dropbear(machines: Machines, pc: Path) -> None:
    board = machines("trixie")
    folder, port = "/etc/dropbear", board.dropbear_port
    key = board.shell(f"dropbearkey -t ed25519 -f {folder}/dropbear_ed25519_host_key")
