"""The one thread of a process that moves bytes, and the lock of all that it shares.

It exists because those who own sockets may be busy with a cell for hours, while peers come, go and
expect to be answered.
"""

import heapq
import os
import select
import socket
import sys
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

IN, OUT = select.EPOLLIN, select.EPOLLOUT


class Timer:
    """An action and its time, in seconds of the monotonic clock, until it is cancelled."""

    __slots__ = ("action", "when")

    def __init__(self, when: float, action: Callable[[], None]) -> None:
        self.when = when
        self.action: Optional[Callable[[], None]] = action

    def __lt__(self, other: "Timer") -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        """Do nothing when the time has come."""
        self.action = None


class Reactor:
    """Watch descriptors and the time. Call all but `forget` with the lock held."""

    __slots__ = ("_epoll", "_handlers", "_timers", "_waker", "_wakes", "forgotten", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()  # again: a signal's handler may close what it interrupted
        self.forgotten: Deque[Any] = deque()  # what nobody has a reference to, to be closed
        self._epoll = select.epoll()
        self._handlers: Dict[int, Callable[[int], None]] = {}
        self._timers: List[Timer] = []
        self._wakes, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._epoll.register(self._wakes, IN)
        threading.Thread(target=self._run, name="zmtp", daemon=True).start()

    def watch(self, descriptor: int, handler: Callable[[int], None], events: int) -> None:
        """Call `handler` with what happens on a descriptor: IN, OUT or an error's bits."""
        if descriptor in self._handlers:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def unwatch(self, descriptor: int) -> None:
        """Stop watching a descriptor, before it is closed."""
        if self._handlers.pop(descriptor, None):
            self._epoll.unregister(descriptor)

    def call_later(self, delay: float, action: Callable[[], None]) -> Timer:
        """Do something after `delay` seconds."""
        timer = Timer(time.monotonic() + delay, action)
        heapq.heappush(self._timers, timer)
        self._wake()
        return timer

    def forget(self, thing: Any) -> None:
        """Have something closed, for those who may not take the lock."""
        self.forgotten.append(thing)
        self._wake()

    def abandon(self) -> None:
        """Let go of what belongs to another process, without touching what is watched there."""
        self._epoll.close()
        self._wakes.close()
        self._waker.close()

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:
            pass  # it has been woken often enough

    def _run(self) -> None:
        poll = self._epoll.poll
        while True:
            events = poll(self._wait())
            with self.lock:
                for descriptor, event in events:
                    self._handle(descriptor, event)
                self._do_what_is_due()
                while self.forgotten:
                    self.forgotten.popleft().close()

    def _wait(self) -> Optional[float]:
        with self.lock:
            return max(0.0, self._timers[0].when - time.monotonic()) if self._timers else None

    def _handle(self, descriptor: int, event: int) -> None:
        if descriptor == self._wakes.fileno():
            self._wakes.recv(4096)
        elif descriptor in self._handlers:
            self._call(self._handlers[descriptor], event)

    def _do_what_is_due(self) -> None:
        while self._timers and self._timers[0].when <= time.monotonic():
            action = heapq.heappop(self._timers).action
            if action is not None:
                self._call(action)

    def _call(self, action: Callable[..., None], *arguments: int) -> None:
        try:
            action(*arguments)
        except Exception:  # whatever it is, this thread has to stay
            import traceback

            traceback.print_exc(file=sys.__stderr__)


class Signaler:
    """A descriptor that is readable from `signal` to `clear`.

    The order of steps matters: a KeyboardInterrupt may come between any two.
    """

    __slots__ = ("_ends", "_rung")

    def __init__(self) -> None:
        self._ends: Tuple[int, int] = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._rung = False

    def __del__(self) -> None:
        for end in self._ends:
            os.close(end)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._ends[0]

    def signal(self) -> None:
        """Make it readable."""
        if not self._rung:
            os.write(self._ends[1], b"\0")
            self._rung = True

    def clear(self) -> None:
        """Make it unreadable."""
        if self._rung:
            self._rung = False
            os.read(self._ends[0], 64)

    def wait(self, timeout: Optional[float]) -> None:
        """Wait for `signal`, at most `timeout` seconds; None means no limit."""
        poll = select.poll()
        poll.register(self._ends[0], select.POLLIN)
        poll.poll(None if timeout is None else max(0, timeout * 1000))


_reactor: Optional[Reactor] = None


def reactor() -> Reactor:
    """Return the reactor of this process."""
    global _reactor
    if _reactor is None:
        _reactor = Reactor()
    return _reactor


def _abandon() -> None:
    global _reactor
    if _reactor is not None:
        _reactor.abandon()
        _reactor = None


os.register_at_fork(after_in_child=_abandon)
