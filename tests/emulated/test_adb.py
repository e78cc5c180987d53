"""A board over adb: Debian's adbd on the emulated armv7l board, as if a USB cable led to it."""

from __future__ import annotations

import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support import adbd
from tests.support.armv7l import Armv7l
from tests.support.boards import wait_until
from tests.support.kernels import started

PLACE = Path("/opt/adbd")
LINES = 200
PRINTING = f"import time\nfor i in range({LINES}): print(i, flush=True); time.sleep(0.05)"


@pytest.fixture(scope="module")
def board(machines: Callable[[str], Armv7l]) -> Iterator[Armv7l]:
    """Give a board with adbd's files, and an adb server."""
    found = machines("bookworm")
    install(found)
    with adbd.server(found.environment, found.folder):
        yield found
        found.end_agents()


def install(board: Armv7l) -> None:
    """Copy adbd and its libraries to a board."""
    root, home = adbd.files("armhf"), Path(board.environment["HOME"])
    board.shell(f"mkdir -p {PLACE}")
    settings = ("-F", f"{home}/.ssh/config", "-o", f"UserKnownHostsFile={home}/.ssh/known_hosts")
    copy = ["ssh", *settings, board.suite, f"tar xz -C {PLACE}"]
    with subprocess.Popen(copy, stdin=subprocess.PIPE) as ssh:
        assert ssh.stdin is not None
        with tarfile.open(fileobj=ssh.stdin, mode="w|gz") as archive:
            for file in sorted(root.rglob("*")):
                if ".so" in file.name or file.name == "adbd":
                    archive.add(file, file.relative_to(root), recursive=False)
    assert ssh.returncode == 0


@contextmanager
def serving(board: Armv7l) -> Iterator[str]:
    """Run adbd on a board; give the board's name for it."""
    port = board.dropbear_port  # which leads there by the same number, and is free now
    words = " ".join(adbd.command(adbd.files("armhf"), PLACE))
    process = board.machine.start(f"ADBD_PORT={port} exec {words} >/tmp/adbd.log 2>&1")
    started = "grep 'adbd started' /tmp/adbd.log || true"
    wait_until(lambda: board.shell(started), "adbd listens", board.limit)
    try:
        yield f"adb:127.0.0.1:{port}"
    finally:
        board.signal(process, signal.SIGKILL)
        board.shell("rm /tmp/adbd.log")


def test_no_line_is_lost_when_adbd_restarts(board: Armv7l) -> None:
    with ExitStack() as first, ExitStack() as second:
        name = first.enter_context(serving(board))
        run = board.rkernel("add", "--host", name, "--name", "adb")
        assert (run.returncode, run.stderr) == (0, "")
        assert "Architecture: armv7l" in run.stdout
        kernel = second.enter_context(started(board, spec=board.specs / "adb"))
        number = kernel.send(PRINTING)
        begun = kernel.until_printed("10\n")
        first.close()
        wait_until(lambda: "the link is lost" in kernel.log(), "the link is lost", board.limit)
        first.enter_context(serving(board))
        published = begun + kernel.finish(number).published
        said = [m["content"] for m in published if m["msg_type"] == "stream"]
        text = "".join(part["text"] for part in said if part["name"] == "stdout")
        assert text == "".join(f"{i}\n" for i in range(LINES))
        assert "the link is back" in kernel.log()
