"""Outages on the emulated board: the link, its parts, the board itself; and what is left."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.armv7l import Armv7l, booted, leading_to
from tests.support.boards import wait_until
from tests.support.kernels import Frontend, started
from tests.support.network import Network

LINES = 200
PRINTING = f"import time\nfor i in range({LINES}): print(i, flush=True); time.sleep(0.05)"
ALL = "".join(f"{i}\n" for i in range(LINES))


@pytest.fixture(scope="module")
def board(machines: Callable[[str], Armv7l]) -> Armv7l:
    return machines("bookworm")


@pytest.fixture(scope="module")
def network(board: Armv7l) -> Iterator[Network]:
    """Lead to the board's sshd, which the ssh settings know as `far`."""
    with leading_to(board) as network:
        yield network


@contextmanager
def far(board: Armv7l, *options: str) -> Iterator[Frontend]:
    argv = [*board.argv(*options)]
    argv[argv.index("--host") + 1] = "far"
    with started(board, argv=argv) as kernel:
        yield kernel


def cut(network: Network, how: str, seconds: float) -> None:
    (network.reset if how == "drop" else network.hole)()
    time.sleep(seconds)  # that is what an outage is
    network.restore()


@pytest.mark.parametrize(
    ("how", "after", "seconds"),
    [("drop", 50, 5), ("hole", 50, 5), ("drop", 50, 30), ("hole", 150, 30)],
    ids=["drop-5", "hole-5", "drop-30", "hole-30-across-the-end"],
)
def test_no_line_is_lost(
    board: Armv7l, network: Network, how: str, after: int, seconds: float
) -> None:
    with far(board) as kernel:
        kernel.run("kept = 'ü'")
        number = kernel.send(PRINTING)
        begun = kernel.until_printed(f"{after}\n")
        cut(network, how, seconds)
        result = kernel.finish(number)
        assert result.reply["content"]["status"] == "ok"
        streams = [m["content"] for m in [*begun, *result.published] if m["msg_type"] == "stream"]
        assert "".join(s["text"] for s in streams if s["name"] == "stdout") == ALL
        assert kernel.value("kept, i") == f"('ü', {LINES - 1})"


def test_a_connection_whose_sshd_is_killed(board: Armv7l, network: Network) -> None:
    with far(board) as kernel:
        number = kernel.send(PRINTING)
        begun = kernel.until_printed("50\n")
        sessions = board.shell("pgrep -f '^sshd: root@notty'").split()
        mine = board.shell("echo $PPID").strip()  # that of this test itself
        for pid in sessions:
            if pid != mine:
                board.shell(f"kill -9 {pid}")
        result = kernel.finish(number)
        streams = [m["content"] for m in [*begun, *result.published] if m["msg_type"] == "stream"]
        assert "".join(s["text"] for s in streams if s["name"] == "stdout") == ALL
        assert "the link is back" in kernel.log()


def test_a_launcher_that_is_gone_leaves_nothing_after_the_lease(board: Armv7l) -> None:
    board.end_agents()
    with started(board, "--orphan-timeout", "4s") as kernel:
        kernel.run("kept = 1")
        kernel.signal(signal.SIGKILL)
        kernel.wait_for_end(5)
        assert len(board.kernels()) == 1
        wait_until(lambda: not board.kernels(), "the lease is over", board.limit)
    board.end_agents()
    assert not board.shell("find /tmp -mindepth 1")


def test_a_kernel_whose_launcher_was_killed_is_taken_over(board: Armv7l) -> None:
    with started(board) as kernel:
        kernel.run("kept = 'ü'")
        kernel.send("import time; print('begun', flush=True); time.sleep(3); kept += '!'")
        kernel.until_printed("begun")
        kernel.signal(signal.SIGKILL)
        kernel.wait_for_end(5)
        (left,) = board.kernels()
        with started(board, "--reattach") as other:
            assert board.kernels() == {left}
            assert other.value("kept") == "'ü!'"
    assert not board.kernels()


def test_a_board_that_is_switched_off_and_comes_back_without_the_kernel() -> None:
    with booted("bookworm") as board, leading_to(board) as network, far(board) as kernel:
        kernel.run("kept = 1")
        network.hole()
        board.machine.power_off()
        network.reset()
        time.sleep(15)  # longer than a silent link is given
        assert kernel.manager.is_alive()
        board.machine.power_on()
        network.restore()
        assert "for example because the board was off" in kernel.reason(board.limit)
        assert kernel.wait_for_end(5) == 1
        assert "its agent has ended, for example because the board was off" in kernel.said()
        assert not board.kernels() and not board.agents()


def test_an_orphan_makes_room_where_two_kernels_do_not_fit() -> None:
    with booted("bookworm", memory=88) as board:
        with started(board) as first:
            first.run("kept = bytearray(8 << 20)")
            first.signal(signal.SIGKILL)
            first.wait_for_end(5)
        (old,) = board.kernels()
        with started(board) as second:
            assert second.run("print('fits')").text() == "fits\n"
            (new,) = board.kernels()
            assert new != old
            assert "ended the kernel" in second.log()
