"""Sockets of ZeroMQ, and the contexts that they belong to. Errors are OSErrors with an errno."""

import errno
import os
import time
from typing import Any, Dict, List, Optional, Set

from .inproc import Inproc
from .patterns import PATTERNS, Frames, Sub, Unreachable
from .ports import Connector, Listener
from .reactor import Signaler, reactor

ETERM = 156384765  # as in zmq.h
POLLIN, POLLOUT = 1, 2
HWM = 1000  # messages
RECONNECT = 100  # milliseconds


class Context:
    """Sockets that can talk inproc, and are terminated together."""

    __slots__ = ("bell", "cores", "names", "reactor", "terminated")

    def __init__(self) -> None:
        self.reactor = reactor()
        self.cores: Set[Core] = set()  # those that are open, or have something to send
        self.names: Dict[str, Core] = {}  # bound inproc
        self.terminated = False
        self.bell = Signaler()

    @property
    def ours(self) -> bool:
        """Whether this process made it, and not its parent before a fork."""
        return self.reactor is reactor()

    def terminate(self) -> None:
        """Make all sockets fail with ETERM; wait until they are closed and have sent all."""
        if not self.ours:
            return
        with self.reactor.lock:
            self.terminated = True
            for core in self.cores:
                core.wake()
        while True:
            with self.reactor.lock:
                self.bell.clear()
                if not self.cores:
                    return
            self.bell.wait(None)


class Core:
    """A socket, for one thread at a time.

    Its times are in milliseconds, -1 for ever.

    Args:
        context: The socket's.
        kind: Its type, such as b"ROUTER".

    Raises:
        OSError: ETERM, the context was terminated.
    """

    __slots__ = (
        "__weakref__",
        "bell",
        "closed",
        "context",
        "identity",
        "kind",
        "last_endpoint",
        "linger",
        "maxmsgsize",
        "pattern",
        "ports",
        "rcvhwm",
        "rcvtimeo",
        "reactor",
        "reconnect_ivl",
        "sndhwm",
        "sndtimeo",
    )

    def __init__(self, context: Context, kind: bytes) -> None:
        self.context = context
        self.reactor = context.reactor
        self.kind = kind
        self.pattern: Any = PATTERNS[kind]()
        self.identity = b""
        self.sndhwm = self.rcvhwm = HWM
        self.sndtimeo = self.rcvtimeo = self.linger = self.maxmsgsize = -1
        self.reconnect_ivl = RECONNECT
        self.last_endpoint = b""
        self.closed = False
        self.ports: Set[Any] = set()
        self.bell: Optional[Signaler] = None
        if context.terminated:
            raise OSError(ETERM, "the context was terminated")
        context.cores.add(self)

    def _check(self) -> None:
        if self.closed or not self.context.ours:
            raise OSError(errno.ENOTSOCK, "the socket is closed")
        if self.context.terminated:
            raise OSError(ETERM, "the context was terminated")

    def fileno(self) -> int:
        """Return a descriptor that is readable when `events` may have changed since it was read."""
        return self._bell().fileno()

    def _bell(self) -> Signaler:
        if self.bell is None:
            self.bell = Signaler()
            self.bell.signal()
        return self.bell

    def wake(self) -> None:
        """Tell whoever waits that something has changed."""
        if self.bell is not None:
            self.bell.signal()

    def events(self) -> int:
        """Return which of POLLIN and POLLOUT hold now."""
        with self.reactor.lock:
            self._check()
            if self.bell is not None:
                self.bell.clear()
            events = POLLIN if self.pattern.receives and self.pattern.readable else 0
            return events | (POLLOUT if self.pattern.writable else 0)

    def bind(self, endpoint: str) -> None:
        """Listen.

        Args:
            endpoint: ipc://PATH, tcp://ADDRESS:PORT or inproc://NAME.

        Raises:
            OSError: It is no such endpoint, or in use.
            NotImplementedError: Its transport is another one.
        """
        with self.reactor.lock:
            self._check()
            if endpoint.startswith("inproc://"):
                if endpoint in self.context.names:
                    raise OSError(errno.EADDRINUSE, "%s is taken" % endpoint)
                self.context.names[endpoint] = self
            else:
                listener = Listener(self, endpoint)
                self.ports.add(listener)
                endpoint = listener.endpoint
            self.last_endpoint = os.fsencode(endpoint)

    def connect(self, endpoint: str) -> None:
        """Connect, as soon as somebody listens; an inproc endpoint has to be bound already.

        Raises:
            OSError: It is no endpoint, or not bound.
            NotImplementedError: Its transport is another one.
        """
        with self.reactor.lock:
            self._check()
            if endpoint.startswith("inproc://"):
                if endpoint not in self.context.names:
                    raise OSError(errno.ECONNREFUSED, "nobody is bound to %s" % endpoint)
                Inproc.join(self, self.context.names[endpoint])
            else:
                self.ports.add(Connector(self, endpoint))
            self.last_endpoint = os.fsencode(endpoint)

    def send(self, frames: Frames, wait: bool) -> None:
        """Send a message; if `wait`, wait for room as long as `sndtimeo` says.

        Raises:
            OSError: EAGAIN, no room; EHOSTUNREACH, no such peer; ETERM; ENOTSUP, it only receives.
        """
        if not self.pattern.sends:
            raise OSError(errno.ENOTSUP, "this socket only receives")
        deadline = self._deadline(self.sndtimeo) if wait else 0.0
        waited = False
        while True:
            with self.reactor.lock:
                self._check()
                if waited:
                    self._bell().clear()
                try:
                    routed = self.pattern.select_pipe(frames)
                except Unreachable:
                    raise OSError(errno.EHOSTUNREACH, "there is no such peer") from None
                if routed is not None:
                    pipes, frames = routed
                    for pipe in pipes:
                        pipe.port.push(frames)
                    if waited:
                        self.wake()  # the signal that was cleared may have had another cause
                    return
            self._wait(deadline)
            waited = True

    def receive(self, wait: bool) -> Frames:
        """Receive a message; if `wait`, wait for one as long as `rcvtimeo` says.

        Raises:
            OSError: EAGAIN, there is none; ETERM; ENOTSUP, it only sends.
        """
        if not self.pattern.receives:
            raise OSError(errno.ENOTSUP, "this socket only sends")
        deadline = self._deadline(self.rcvtimeo) if wait else 0.0
        while True:
            with self.reactor.lock:
                self._check()
                received = self.pattern.receive()
                if received is not None:
                    frames, pipe = received
                    if len(pipe.inbox) * 2 <= self.rcvhwm:
                        pipe.port.resume()
                    return list(frames)
                if wait:
                    self._bell().clear()
            self._wait(deadline)

    def poll(self, timeout: int, flags: int) -> int:
        """Return which of POLLIN and POLLOUT in `flags` hold, as soon as one does.

        Args:
            timeout: Milliseconds to wait for that; negative for no limit.
            flags: One or both.
        """
        deadline = self._deadline(timeout)
        signaler = self._bell()
        while True:
            events = self.events() & flags
            left = deadline and deadline - time.monotonic()
            if events or (left is not None and left <= 0):
                return events
            signaler.wait(left)

    def _deadline(self, timeout: Optional[int]) -> Optional[float]:
        """Return when `timeout` milliseconds are over; None for never."""
        return None if timeout is None or timeout < 0 else time.monotonic() + timeout / 1000

    def _wait(self, deadline: Optional[float]) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self._bell().wait(left)

    def subscribe(self, topic: bytes, wanted: bool = True) -> None:
        """Receive what begins with a topic, or no more if it is not `wanted`.

        Raises:
            OSError: EINVAL, the socket is no SUB.
        """
        if not isinstance(self.pattern, Sub):
            raise OSError(errno.EINVAL, "only SUB sockets subscribe")
        with self.reactor.lock:
            self._check()
            messages = self.pattern.subscribe(topic) if wanted else self.pattern.cancel(topic)
            for frames in messages:
                for pipe in list(self.pattern.pipes):  # a push may find that one is gone
                    pipe.port.push(frames)

    def detach(self, pipe: Any) -> None:
        """Forget a pipe; its port calls this."""
        if self.pattern.detach(pipe):
            self.wake()

    def drop(self, port: Any) -> None:
        """Forget a port that is closed; the port calls this."""
        self.ports.discard(port)
        self._gone()

    def close(self) -> None:
        """Close the socket; it sends what it has for as long as it may linger."""
        if self.closed:
            return
        self.closed = True
        if not self.context.ours:
            return
        linger = None if self.linger < 0 else self.linger / 1000
        with self.reactor.lock:
            names = self.context.names
            for name in [name for name, core in names.items() if core is self]:
                del names[name]
            ports: List[Any] = list(self.ports)
            for port in ports:
                port.end(linger)
            self.wake()
            self._gone()

    def _gone(self) -> None:
        if self.closed and not self.ports:
            self.context.cores.discard(self)
            self.context.bell.signal()
