"""The event loop, with real sockets, threads and signals."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from board_agent.link.event_loop import Loop

LIMIT = 10.0


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Give a loop that does not run for longer than a test may."""
    made = Loop()

    def too_late() -> None:
        raise AssertionError("the loop was not stopped in time")

    made.call_later(LIMIT, too_late)
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        other.setblocking(False)
        yield one, other


def test_timers_run_in_order_of_their_time_and_then_of_their_making(loop: Loop) -> None:
    ran: list[str] = []
    loop.call_later(0.03, loop.stop)
    loop.call_later(0.02, lambda: ran.append("late"))
    for name in "abc":
        loop.call_later(0.01, lambda name=name: ran.append(name))
    start = time.monotonic()
    loop.run()
    assert ran == ["a", "b", "c", "late"]
    assert time.monotonic() - start >= 0.03


def test_a_timer_that_was_called_off_does_not_run(loop: Loop) -> None:
    ran: list[str] = []
    loop.call_later(0.0, lambda: ran.append("stays"))
    cancel = loop.call_later(0.0, lambda: ran.append("called off"))
    loop.call_later(0.001, loop.stop)
    cancel()
    cancel()
    loop.run()
    cancel()
    assert ran == ["stays"]


def test_a_socket_is_read_and_written_as_long_as_it_is_watched(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair
    got: list[bytes] = []

    def read() -> None:
        got.append(one.recv(1))
        if len(got) == 3:
            loop.watch(one, None, None)
            other.send(b"unheard")
            loop.call_later(0.01, loop.stop)

    def write() -> None:
        loop.watch(other, None, None)
        other.send(b"abc")

    loop.watch(one, read, None)
    loop.watch(other, None, write)
    loop.run()
    assert got == [b"a", b"b", b"c"]
    assert one.recv(100) == b"unheard"


def test_a_callback_may_end_the_watching_of_another_that_is_ready_too(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    ran = []

    def read(index: int) -> None:
        ran.append(index)
        for one, _ in pairs:
            loop.watch(one, None, None)
            one.close()
        loop.stop()

    for index, (one, other) in enumerate(pairs):
        loop.watch(one, lambda index=index: read(index), None)
        other.send(b"x")
    loop.run()
    assert len(ran) == 1
    for _, other in pairs:
        other.close()


def test_a_callback_may_give_a_socket_another_callback(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair
    ran = []

    def first() -> None:
        ran.append("first")
        loop.watch(one, second, second)

    def second() -> None:
        ran.append("second")
        loop.watch(one, None, None)
        loop.stop()

    loop.watch(one, first, None)
    other.send(b"x")
    loop.run()
    assert ran == ["first", "second"]


def test_to_unwatch_what_is_not_watched_is_no_error(loop: Loop) -> None:
    one, other = socket.socketpair()
    loop.watch(one, None, None)
    one.close()
    other.close()
    loop.watch(one, None, None)


def test_a_call_from_another_thread_wakes_a_loop_that_waits(loop: Loop) -> None:
    threads: list[threading.Thread | None] = []

    def called() -> None:
        threads.append(threading.current_thread())
        loop.stop()

    other = threading.Thread(target=lambda: loop.call_soon(called))
    loop.call_later(0.01, other.start)
    start = time.monotonic()
    loop.run()
    other.join()
    assert threads == [threading.current_thread()]
    assert time.monotonic() - start < LIMIT / 2


def test_many_calls_from_threads_all_run(loop: Loop) -> None:
    """More than fit the pipe that wakes the loop."""
    count, calls = 50_000, []

    def call() -> None:
        for _ in range(count):
            loop.call_soon(lambda: calls.append(None))
        loop.call_soon(loop.stop)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    loop.run()
    assert len(calls) == count


def test_a_call_made_before_the_run_is_not_lost(loop: Loop) -> None:
    loop.call_soon(loop.stop)
    loop.run()


def test_a_signal_runs_its_callback_in_the_loop(loop: Loop) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    ran = []

    def on_signal() -> None:
        ran.append(threading.current_thread())
        loop.stop()

    try:
        loop.on_signal(signal.SIGUSR1, on_signal)
        loop.call_later(0.01, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        start = time.monotonic()
        loop.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ran == [threading.main_thread()]
    assert time.monotonic() - start < LIMIT / 2


def test_an_error_in_a_callback_is_not_swallowed(loop: Loop) -> None:
    def fail() -> None:
        raise RuntimeError("this one")

    loop.call_soon(fail)
    with pytest.raises(RuntimeError, match="this one"):
        loop.run()


def test_a_loop_may_run_again_after_it_was_stopped(loop: Loop) -> None:
    ran: list[int] = []
    for number in range(2):
        loop.call_later(0.0, lambda number=number: (ran.append(number), loop.stop()))
        loop.run()
    assert ran == [0, 1]


def test_a_call_after_the_end_is_no_error_and_does_not_run() -> None:
    ran: list[str] = []
    loop = Loop()
    loop.close()
    loop.call_soon(lambda: ran.append("late"))
    assert ran == []


def test_a_timer_of_a_month_may_be_the_only_one() -> None:
    """What selectors take at once has a limit."""
    loop = Loop()
    loop.call_later(30 * 86400.0, lambda: None)
    other = threading.Timer(0.05, lambda: loop.call_soon(loop.stop))
    other.start()
    try:
        loop.run()
    finally:
        other.join()
        loop.close()


def test_timers_that_were_called_off_do_not_pile_up(loop: Loop) -> None:
    """As those of a link that is up for months: each is set, and called off when all is well."""
    ran: list[str] = []
    loop.call_later(0.01, lambda: ran.append("stays"))
    for _ in range(10_000):
        loop.call_later(3600.0, lambda: None)()
    assert len(loop._timers) < 200
    loop.call_later(0.02, loop.stop)
    loop.run()
    assert ran == ["stays"]
