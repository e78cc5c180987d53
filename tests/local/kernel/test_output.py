"""Much output: all of it comes, in order, however slow the reader, and memory stays bounded."""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.boards import Board
from tests.support.kernels import Frontend, attached, is_idle, started

FLOOD = """
import hashlib
digest = hashlib.sha256()
for number in range({lines}):
    line = "%09d ü%s\\n" % (number, "x" * 988)
    digest.update(line.encode())
    print(line, end="")
"""
MANY = """
session, socket = get_ipython().kernel.session, get_ipython().kernel.iopub_socket
parent = get_ipython().kernel.get_parent()
for number in range({count}):
    session.send(socket, "display_data", {{"data": {{"n": number}}, "metadata": {{}}}}, parent)
"""
WATCHED = """
with open("{progress}", "w", buffering=1) as progress:
    for number in range({lines}):
        print("%09d %s" % (number, "x" * 990), flush=number == 100)
        progress.seek(0)
        progress.write("%d\\n" % number)
"""


@pytest.fixture(scope="module")
def kernel(board: Board) -> Iterator[Frontend]:
    with started(board) as frontend:
        yield frontend


def follow(kernel: Frontend, number: str) -> tuple[int, str]:
    """Read what a cell prints, to its end; return how many bytes it was, and their hash."""
    size, digest, ended = 0, hashlib.sha256(), is_idle(number)
    while not ended(message := kernel.client.get_iopub_msg(timeout=kernel.limit)):
        text = message["content"].get("text", "").encode()
        size += len(text)
        digest.update(text)
    return size, digest.hexdigest()


def stalled(progress: Callable[[], int], limit: float) -> int:
    """Wait until progress has not been made for a second, and return how far it came."""
    deadline = time.monotonic() + limit
    reached, since = progress(), time.monotonic()
    while time.monotonic() - since < 1:
        if (now := progress()) != reached:
            reached, since = now, time.monotonic()
        assert time.monotonic() < deadline, "it goes on and on"
        time.sleep(0.05)
    return reached


def memory(board: Board, pid: int) -> int:
    """Return the memory of a process on the board, in bytes."""
    status = board.shell(f"cat /proc/{pid}/status")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def test_100_mb_of_print_come_whole(board: Board, kernel: Frontend) -> None:
    lines = 100_000
    (pid,), (agent,) = board.kernels(), board.agents()
    before, before_agent = memory(board, pid), memory(board, agent)
    number = kernel.send(FLOOD.format(lines=lines))
    size, digest = follow(kernel, number)
    assert size == lines * 1001
    assert kernel.value("digest.hexdigest()") == repr(digest)
    assert memory(board, pid) - before < 30 << 20
    assert memory(board, agent) - before_agent < 8 << 20


def test_20_mb_in_one_display(kernel: Frontend) -> None:
    code = "display({'image/png': 'QUJD' * 5_000_000, 'text/plain': 'ü'}, raw=True)"
    (shown,) = kernel.run(code).of("display_data")
    assert shown["data"] == {"image/png": "QUJD" * 5_000_000, "text/plain": "ü"}


def test_much_code_goes_up(kernel: Frontend) -> None:
    kernel.run(f"text = '{'ü' * 2_000_000}'")
    assert kernel.value("len(text)") == "2000000"


def test_a_client_that_reads_late_loses_nothing(kernel: Frontend) -> None:
    count = 8_000  # four times what a stock kernel and its client hold
    with attached(kernel) as late:
        number = kernel.send(MANY.format(count=count))
        for reader in (kernel, late):
            messages = reader.until(is_idle(number), "the cell ends")
            shown = [m["content"]["data"]["n"] for m in messages if "data" in m["content"]]
            assert shown == list(range(count))


def test_the_cell_waits_while_its_output_is_not_taken(board: Board) -> None:
    """What a kernel holds back meanwhile is little: a board has no memory to spare."""
    lines = 40_000
    progress = f"{board.runtime}/progress"
    others = board.kernels()
    with started(board) as kernel:
        (pid,) = board.kernels() - others
        before = memory(board, pid)
        number = kernel.send(WATCHED.format(lines=lines, progress=progress))
        kernel.until_printed("000000100 ")
        kernel.signal(signal.SIGSTOP)
        try:
            reached = stalled(lambda: int(board.shell(f"cat {progress}") or 0), board.limit)
            assert 100 < reached < lines - 1
            assert memory(board, pid) - before < 10 << 20
        finally:
            board.shell(f"rm {progress}")
            kernel.signal(signal.SIGCONT)
        messages = kernel.until(is_idle(number), "the cell ends")
        text = "".join(m["content"].get("text", "") for m in messages)
        assert [int(line[:9]) for line in text.splitlines()] == list(range(101, lines))
