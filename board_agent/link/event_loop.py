"""A small event loop: sockets, timers and calls from other threads or signal handlers."""

import contextlib
import heapq
import itertools
import selectors
import signal
import socket
import time
from collections import deque
from functools import partial
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple, Union

MAX_WAIT = 3600.0  # seconds to wait for at once: what select takes has a limit
MAX_CANCELLED = 64  # timers that were called off, before they are forgotten

Callback = Callable[[], None]
_Watch = Tuple[int, Optional[Callback], Optional[Callback]]
_NOTHING: _Watch = (0, None, None)


class Loop:
    """Wait for sockets and timers, and run their callbacks one at a time in one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._watched: Dict[Any, _Watch] = {}
        self._timers: List[Tuple[float, int, List[Optional[Callback]]]] = []
        self._called_off = 0  # about so many of the timers
        self._order = itertools.count()
        self._calls: Deque[Callback] = deque()
        self._running = False
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self.watch(self._wake_in, self._drain, None)

    def watch(self, sock: Any, on_read: Optional[Callback], on_write: Optional[Callback]) -> None:
        """Call back whenever a socket can be read or written; with neither, stop watching it."""
        events = (selectors.EVENT_READ if on_read else 0) | (
            selectors.EVENT_WRITE if on_write else 0
        )
        known = self._watched.get(sock)
        if not events:
            if known is not None:
                del self._watched[sock]
                self._selector.unregister(sock)
            return
        if known is None:
            self._selector.register(sock, events)  # which fails for a file on a disk
        elif known[0] != events:
            self._selector.modify(sock, events)
        self._watched[sock] = (events, on_read, on_write)

    def call_later(self, seconds: float, callback: Callback) -> Callback:
        """Run `callback` once after `seconds`; return a function that cancels this."""
        if self._called_off > max(MAX_CANCELLED, len(self._timers) // 2):
            self._timers = [timer for timer in self._timers if timer[2][0] is not None]
            heapq.heapify(self._timers)
            self._called_off = 0
        cell: List[Optional[Callback]] = [callback]
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), cell))

        def cancel() -> None:
            self._called_off += cell[0] is not None
            cell[0] = None

        return cancel

    def call_soon(self, callback: Callback) -> None:
        """Run `callback` in the loop's thread; may be called from any thread or signal handler."""
        self._calls.append(callback)
        try:
            self._wake_out.send(b"\0")
        except OSError:
            pass  # full: the loop is about to wake anyway; closed: it is over

    def defer(self, callback: Callback) -> None:
        """Run `callback` at the end of this turn; only from the loop's own thread."""
        self._calls.append(callback)

    def guarded(self, on_fault: Callable[[Exception], None]) -> "GuardedLoop":
        """Return this loop for a user whose faults must not end the others.

        Args:
            on_fault: Called with an exception that a callback of that user raises.
        """
        return GuardedLoop(self, on_fault)

    def on_signal(self, number: int, callback: Callback) -> None:
        """Run `callback` in the loop whenever a signal comes; only from the main thread."""
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        signal.signal(number, lambda *_: self._calls.append(callback))

    def run(self) -> None:
        """Run until `stop`."""
        self._running = True
        while self._running:
            for key, ready in self._selector.select(self._until_next_timer()):
                # Looked up each time: a callback may have changed or ended the watching.
                if ready & selectors.EVENT_READ:
                    on_read = self._watched.get(key.fileobj, _NOTHING)[1]
                    if on_read:
                        on_read()
                if ready & selectors.EVENT_WRITE:
                    on_write = self._watched.get(key.fileobj, _NOTHING)[2]
                    if on_write:
                        on_write()
            while self._calls:
                self._calls.popleft()()
            self._run_timers()

    def stop(self) -> None:
        """Make `run` return once its current callbacks are done."""
        self._running = False

    def close(self) -> None:
        """Close the loop's own descriptors."""
        with contextlib.suppress(ValueError):  # another thread than the main one has none
            signal.set_wakeup_fd(-1)
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    def _until_next_timer(self) -> Optional[float]:
        if self._calls or not self._running:
            return 0.0
        while self._timers and self._timers[0][2][0] is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return min(MAX_WAIT, max(0.0, self._timers[0][0] - time.monotonic()))

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            cell = heapq.heappop(self._timers)[2]
            callback, cell[0] = cell[0], None
            if callback is not None:
                callback()

    def _drain(self) -> None:
        try:
            while self._wake_in.recv(4096):
                pass
        except OSError:
            pass


class GuardedLoop:
    """What `Loop.guarded` returns: an exception in a callback of its user ends no other user."""

    def __init__(self, loop: Loop, on_fault: Callable[[Exception], None]) -> None:
        self._loop = loop
        self._on_fault = on_fault

    def watch(self, sock: Any, on_read: Optional[Callback], on_write: Optional[Callback]) -> None:
        """Do as `Loop.watch` does."""
        reading = partial(self.call, on_read) if on_read else None
        self._loop.watch(sock, reading, partial(self.call, on_write) if on_write else None)

    def call_later(self, seconds: float, callback: Callback) -> Callback:
        """Do as `Loop.call_later` does."""
        return self._loop.call_later(seconds, partial(self.call, callback))

    def defer(self, callback: Callback) -> None:
        """Do as `Loop.defer` does."""
        self._loop.defer(partial(self.call, callback))

    def call(self, callback: Callback) -> None:
        """Run a callback now."""
        try:
            callback()
        except Exception as error:
            self._on_fault(error)


AnyLoop = Union[Loop, GuardedLoop]
