"""Interrupt, restart and every way to end: what is left on the board is what should be there."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable

import pytest

from tests.support.boards import Board, wait_until
from tests.support.kernels import Frontend, by_message, interrupt, launched, seconds_of, started

ENDLESS = {
    "busy": "while True: pass",
    "asleep": "import time; time.sleep(600)",
    "printing": "while True: print('x' * 1000)",
    "asking": "input()",
}


def by_signal(kernel: Frontend) -> None:
    kernel.signal(signal.SIGINT)


@pytest.mark.parametrize("how", [by_message, by_signal])
def test_interrupt_ends_the_cell_and_keeps_the_variables(
    board: Board, how: Callable[[Frontend], None]
) -> None:
    with started(board) as kernel:
        kernel.run("kept = 'ü'")
        for name, code in ENDLESS.items():
            assert interrupt(kernel, code, how) < 2 * board.slowness, name
        assert kernel.value("kept") == "'ü'"
        assert kernel.run("print('again')").text() == "again\n"


def test_interrupt_when_nothing_runs_does_no_harm(board: Board) -> None:
    with started(board) as kernel:
        kernel.run("kept = 1")
        kernel.control("interrupt_request")
        assert kernel.value("kept") == "1"
        by_signal(kernel)
        for _ in range(2):  # the interrupt has gone before the second of these
            kernel.control("kernel_info_request")
        assert kernel.value("kept") == "1"


@pytest.mark.parametrize("how", [by_message, by_signal])
def test_an_interrupt_that_another_thread_receives(
    board: Board, how: Callable[[Frontend], None]
) -> None:
    """As one does that comes a moment before the system call: nothing ends that."""
    blocked = "import signal; signal.pthread_sigmask(signal.SIG_%s, {signal.SIGINT})\n"
    with started(board) as kernel:
        interrupt(kernel, blocked % "BLOCK" + "import time; time.sleep(600)", how)
        kernel.run(blocked % "UNBLOCK")
        assert kernel.value("signal.pthread_sigmask(signal.SIG_BLOCK, set())") == "set()"


def test_interrupt_reaches_what_the_cell_has_started(board: Board) -> None:
    with started(board) as kernel:
        kernel.run("import subprocess; child = subprocess.Popen(['sleep', '601'])")
        interrupt(kernel, "child.wait()", by_signal)
        assert kernel.run("child.wait(10)").reply["content"]["status"] == "ok"


def test_restart_makes_a_fresh_kernel(board: Board) -> None:
    with started(board) as kernel:
        kernel.run("kept = 1")
        (before,) = board.kernels()
        kernel.restart()
        assert kernel.run("kept").reply["content"]["ename"] == "NameError"
        (after,) = board.kernels()
        assert after != before


def test_restart_at_once_takes_the_same_ports(board: Board) -> None:
    """It is a SIGKILL and a relaunch: the board is not told, and must find out by itself."""
    with started(board) as kernel:
        for _ in range(3):
            before = kernel.manager.get_connection_info()
            (old,) = board.kernels()
            kernel.send("while True: pass")
            kernel.restart(now=True)
            assert kernel.manager.get_connection_info() == before
            (new,) = board.kernels()
            assert new != old
        assert kernel.run("print('here')").text() == "here\n"


def test_shutdown_leaves_no_kernel(board: Board) -> None:
    with started(board) as kernel:
        reply = kernel.control("shutdown_request", {"restart": False})
        assert reply["content"] == {"status": "ok", "restart": False}
        assert kernel.wait_for_end(2 * board.slowness) == 0
        assert not board.kernels()
        assert kernel.said() == ""


def test_other_clients_hear_of_a_shutdown(board: Board) -> None:
    with started(board) as kernel:
        message = kernel.client.session.msg("shutdown_request", {"restart": False})
        kernel.client.control_channel.send(message)
        heard = kernel.until(lambda m: m["msg_type"] == "shutdown_reply", "it is published")
        assert heard[-1]["content"]["restart"] is False
        kernel.wait_for_end(2 * board.slowness)


def test_sigterm_to_the_launcher_ends_the_kernel(board: Board) -> None:
    with started(board) as kernel:
        kernel.send("while True: pass")
        kernel.signal(signal.SIGTERM)
        assert kernel.wait_for_end(3 * board.slowness) == 0
        assert not board.kernels()


@pytest.fixture(scope="module")
def usual(board: Board) -> float:
    """Give the seconds that a start takes when the board knows our code."""
    with started(board), launched(board) as kernel:
        return seconds_of(lambda: kernel.client.wait_for_ready(timeout=board.limit))


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_launcher_that_ends_on_its_way_leaves_nothing(
    board: Board, usual: float, part: float, number: signal.Signals
) -> None:
    with launched(board, "--orphan-timeout", "0") as kernel:
        time.sleep(part * usual)  # whatever it does then
        kernel.signal(number)
        kernel.wait_for_end(4 * board.slowness)
        wait_until(lambda: not board.kernels(), "no kernel is left", board.limit)


def test_sigkill_of_a_launcher_leaves_its_kernel_to_the_lease(board: Board) -> None:
    with started(board, "--orphan-timeout", "2s") as kernel:
        kernel.signal(signal.SIGKILL)
        kernel.wait_for_end(5)
        assert len(board.kernels()) == 1
        wait_until(lambda: not board.kernels(), "the lease is over", board.limit)


def test_sigkill_of_a_launcher_ends_its_kernel_alone(board: Board) -> None:
    with started(board, "--orphan-timeout", "0") as kernel, started(board) as other:
        other.run("kept = 1")
        kept = int(other.value("__import__('os').getpid()"))
        kernel.send("while True: pass")
        kernel.signal(signal.SIGKILL)
        wait_until(lambda: board.kernels() == {kept}, "the other kernel alone is left", board.limit)
        assert other.value("kept") == "1"


@pytest.mark.parametrize(
    ("death", "status", "sentence"),
    [
        ("import os; os._exit(3)", 3, "ended with exit status 3"),
        ("import ctypes; ctypes.string_at(0)", 139, "was ended by signal 11 (SIGSEGV)"),
        ("import os; os.kill(os.getpid(), 9)", 137, "was ended by signal 9 (SIGKILL)"),
    ],
    ids=["exit", "segfault", "sigkill"],
)
def test_the_kernels_death_ends_the_launcher(
    board: Board, death: str, status: int, sentence: str
) -> None:
    with started(board) as kernel:
        kernel.send(death)
        assert seconds_of(lambda: kernel.wait_for_end(board.limit)) < 1.0 * board.slowness
        assert kernel.wait_for_end(1) == status
        assert not board.kernels()
        for text in (kernel.said(), kernel.log()):
            assert sentence in text
            assert "Traceback" not in text


def test_what_a_kernel_says_outside_its_cells_is_kept(board: Board) -> None:
    with started(board) as kernel:
        kernel.run("get_ipython().kernel.log.warning('Grüße\\x1b]0;')")
        kernel.send("import os; os._exit(5)")
        kernel.wait_for_end(board.limit)
        for text in (kernel.said(), kernel.log()):
            assert "Grüße\\x1b]0;" in text


def test_a_crash_says_where_it_was(board: Board) -> None:
    with started(board) as kernel:
        kernel.send("import ctypes; ctypes.string_at(0)")
        kernel.wait_for_end(board.limit)
        # A crash is written in pieces, and the log has a line for each that came by itself.
        log = re.sub(r"\n\S+ \S+ INFO the kernel wrote: ", "", kernel.log())
        assert "Fatal Python error: Segmentation fault" in log
        assert "string_at" in log
        assert "Its last output" in kernel.said()


def test_what_was_printed_before_a_death_is_shown(board: Board) -> None:
    with started(board) as kernel:
        kernel.send(
            "import os, time\nprint('begun', flush=True)\ntime.sleep(0.5)\n"
            "print('x' * 200_000, 'the end', flush=True)\ntime.sleep(0.5)\nos._exit(4)"
        )
        kernel.until_printed("begun")
        kernel.signal(signal.SIGSTOP)
        try:
            wait_until(lambda: not board.kernels(), "the kernel dies", board.limit)
        finally:
            kernel.signal(signal.SIGCONT)
        assert len(kernel.until_printed("the end")[-1]["content"]["text"]) > 200_000
        assert kernel.wait_for_end(board.limit) == 4


def test_nothing_that_a_kernel_started_outlives_it(board: Board) -> None:
    with started(board) as kernel:
        kernel.run("import subprocess; child = subprocess.Popen(['sleep', '602'])")
        child = int(kernel.value("child.pid"))
        kernel.signal(signal.SIGTERM)
        kernel.wait_for_end(board.limit)
        alive = f"grep -a sleep /proc/{child}/cmdline 2>/dev/null || true"
        wait_until(lambda: not board.shell(alive), "what the cell started ends", board.limit)


def test_an_agent_that_is_killed_takes_its_kernels_with_it(board: Board) -> None:
    with started(board) as kernel:
        (agent,) = board.agents()
        board.signal(agent, signal.SIGKILL)
        assert "agent has ended" in kernel.reason(board.limit)
        assert kernel.wait_for_end(5) == 1
        assert "agent has ended" in kernel.said() and len(kernel.said().splitlines()) == 1
        wait_until(lambda: not board.kernels(), "the kernel ends too", board.limit)
    with started(board) as kernel:
        assert kernel.run("print('again')").text() == "again\n"
        assert len(board.agents()) == 1


def test_a_kernel_leaves_no_files_and_shows_them_to_nobody(board: Board) -> None:
    def found(which: str) -> list[str]:
        return board.shell(f"find {board.runtime} {which} 2>/dev/null || true").splitlines()

    with started(board) as kernel:
        assert any(name.endswith("/connection.json") for name in found("-type f"))
        assert not found("-type d -perm /077") and not found("-type f -perm /077 ! -name log")
        pid = kernel.value("__import__('os').getpid()")
    assert not found("-path '*/[0-9]' -o -path '*/[0-9][0-9]'")
    assert not board.shell(f"find /tmp -maxdepth 1 -name '*{pid}*'")
