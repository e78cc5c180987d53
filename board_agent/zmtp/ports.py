"""What a socket is bound or connected to: what listens, and what connects again.

Call all of it with the reactor's lock held.
"""

import errno
import os
import socket
from typing import Any, Optional, Tuple

from .connection import Connection
from .patterns import Frames, Pipe
from .reactor import IN, OUT, Timer
from .wire import encode

ACCEPT_PAUSE = 0.1  # seconds, when there is nothing left to accept with


def parse(endpoint: str) -> Tuple[int, Any]:
    """Return an endpoint's address family and address.

    Raises:
        OSError: It is no address.
        NotImplementedError: Its transport is another than ipc and tcp.
    """
    transport, found, rest = endpoint.partition("://")
    if not found or not rest:
        raise OSError(errno.EINVAL, "%s is no endpoint" % endpoint)
    if transport == "ipc":
        if len(os.fsencode(rest)) > 107:
            raise OSError(errno.ENAMETOOLONG, "%s is too long" % endpoint)
        return socket.AF_UNIX, rest
    if transport != "tcp" or "[" in rest or ";" in rest:
        raise NotImplementedError("zmq: %s" % endpoint)
    host, found, port = rest.rpartition(":")
    if not found or not (port == "*" or (port.isdigit() and int(port) < 1 << 16)):
        raise OSError(errno.EINVAL, "%s has no port" % endpoint)
    return socket.AF_INET, ("" if host == "*" else host, 0 if port == "*" else int(port))


def _settled(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Listener:
    """Accept whoever connects.

    Args:
        core: The socket.
        endpoint: As for `parse`.

    Raises:
        OSError: It is no address, or cannot be had.
        NotImplementedError: As for `parse`.
    """

    __slots__ = ("_core", "_sock", "endpoint")

    def __init__(self, core: Any, endpoint: str) -> None:
        family, address = parse(endpoint)
        self._core = core
        self._sock: Optional[socket.socket] = _settled(socket.socket(family, socket.SOCK_STREAM))
        try:
            if family == socket.AF_UNIX:
                _unlink(address)  # as libzmq, which leaves its own there too
            else:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sock.bind(address)
            self._sock.listen(128)
        except OSError:
            self._sock.close()
            raise
        if family == socket.AF_INET:
            endpoint = "tcp://%s:%d" % self._sock.getsockname()
        self.endpoint = endpoint
        self._watch()

    def _watch(self) -> None:
        if self._sock is not None:
            self._core.reactor.watch(self._sock.fileno(), self._accept, IN)

    def _accept(self, events: int) -> None:
        assert self._sock is not None
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # no descriptors, no memory
            self._core.reactor.unwatch(self._sock.fileno())
            self._core.reactor.call_later(ACCEPT_PAUSE, self._watch)
            return
        self._core.ports.add(Connection(self._core, _settled(sock)))

    def end(self, linger: Optional[float]) -> None:
        """Stop listening."""
        if self._sock is not None:
            self._core.reactor.unwatch(self._sock.fileno())
            self._sock.close()
            self._sock = None
            self._core.drop(self)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # then binding says what is wrong


class Connector:
    """Connect, and again whenever the connection is lost.

    Args:
        core: The socket.
        endpoint: As for `parse`.

    Raises:
        OSError: It is no address, or the socket has its one peer.
        NotImplementedError: As for `parse`.
    """

    __slots__ = (
        "_connection",
        "_core",
        "_ending",
        "_linger",
        "_pipe",
        "_sock",
        "_timer",
        "_to",
        "endpoint",
    )

    def __init__(self, core: Any, endpoint: str) -> None:
        self._to = parse(endpoint)
        self.endpoint = endpoint
        self._core = core
        self._sock: Optional[socket.socket] = None  # while it is being connected
        self._connection: Optional[Connection] = None
        self._timer: Optional[Timer] = None
        self._linger: Optional[Timer] = None
        self._ending = False
        self._pipe: Optional[Pipe] = None  # where messages wait for the first connection too
        if core.pattern.early:
            self._pipe = Pipe(core.sndhwm, self)
            if core.pattern.attach(self._pipe):
                raise OSError(errno.EINVAL, "this socket has its peer")
            core.wake()
        self._connect()

    def _connect(self) -> None:
        self._timer = None
        family, address = self._to
        self._sock = _settled(socket.socket(family, socket.SOCK_STREAM))
        try:
            error = self._sock.connect_ex(address)
        except OSError as unknown:  # a name that nobody knows
            error = unknown.errno or errno.EINVAL
        if error in (0, errno.EINPROGRESS):
            self._core.reactor.watch(self._sock.fileno(), self._connected, OUT)
        else:
            self._sock.close()
            self._sock = None
            self._retry()

    def _connected(self, events: int) -> None:
        assert self._sock is not None
        sock, self._sock = self._sock, None
        self._core.reactor.unwatch(sock.fileno())
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            sock.close()
            self._retry()
        else:
            self._connection = Connection(self._core, sock, self.lost, self._pipe)
            if self._ending:
                self._connection.end(None)

    def _retry(self) -> None:
        if self._core.reconnect_ivl < 0:
            return
        self._timer = self._core.reactor.call_later(self._core.reconnect_ivl / 1000, self._connect)

    def lost(self) -> None:
        """Connect again."""
        self._connection = None
        if self._ending and not self.pending:
            self.close()
        else:
            self._retry()

    @property
    def pending(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._pipe and self._pipe.outbox)

    def push(self, frames: Frames) -> None:
        """Send a message, now or once somebody is there."""
        assert self._pipe is not None
        if self._connection is not None:
            self._connection.push(frames)
        else:
            self._pipe.outbox.append(encode(frames))

    def resume(self) -> None:
        """Go on reading."""
        if self._connection is not None:
            self._connection.resume()

    def end(self, linger: Optional[float]) -> None:
        """Close once all is sent, or after `linger` seconds; None means no limit."""
        self._ending = True
        if linger == 0:
            self.close()
        elif self._connection is not None:
            self._connection.end(linger)
        elif not self.pending:
            self.close()
        if linger and self in self._core.ports:
            self._linger = self._core.reactor.call_later(linger, self.close)

    def close(self) -> None:
        """Close at once."""
        for timer in filter(None, (self._timer, self._linger)):
            timer.cancel()
        if self._pipe is not None:
            self._core.detach(self._pipe)
            self._pipe.outbox.clear()
        self._ending = True
        if self._connection is not None:
            self._connection.close()
        elif self in self._core.ports:
            if self._sock is not None:
                self._core.reactor.unwatch(self._sock.fileno())
                self._sock.close()
                self._sock = None
            self._core.drop(self)
