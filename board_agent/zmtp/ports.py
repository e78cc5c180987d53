"""What a socket is bound or connected to: what listens, what connects again, and connections.

All of it is called with the reactor's lock held.
"""

import errno
import os
import socket
import threading
from typing import Any, List, Optional, Tuple

from .patterns import Frames, Pipe
from .reactor import IN, OUT, Timer
from .wire import LIMIT, ProtocolError, Wire, encode

RECEIVE = 1 << 16  # bytes taken from a connection at once
BATCH = 1 << 14  # bytes of messages that no longer count as waiting
PIECES = 64  # that one call sends
ACCEPT_PAUSE = 0.1  # seconds, when there is nothing left to accept with


def parse(endpoint: str) -> Tuple[int, Any]:
    """Return an endpoint's address family and address.

    Raises NotImplementedError for other transports, OSError for what is no address.
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


def _made(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    if family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Listener:
    """Takes in whoever connects. Raises OSError."""

    __slots__ = ("_core", "_sock", "endpoint")

    def __init__(self, core: Any, endpoint: str) -> None:
        family, address = parse(endpoint)
        self._core = core
        self._sock: Optional[socket.socket] = _made(family)
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
        sock.setblocking(False)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._core.ports.add(Connection(self._core, sock, None))

    def end(self, linger: Optional[float]) -> None:
        """Listen no more."""
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
    """Connects, and again when the connection is lost. Raises OSError for what is no address."""

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
        self._sock = _made(family)
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
            self._connection = Connection(self._core, sock, self, self._pipe)
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
        """Close once all is sent, or after so many seconds."""
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


class Connection:
    """A connection, of which the owner is told when it is lost.

    Parameters: pipe, the owner's; without one it gets its own when the peer has introduced itself.
    """

    __slots__ = (
        "_core",
        "_current",
        "_ending",
        "_linger",
        "_met",
        "_owner",
        "_paused",
        "_pipe",
        "_sock",
        "_watched",
        "_wire",
    )

    def __init__(
        self,
        core: Any,
        sock: socket.socket,
        owner: Optional[Connector],
        pipe: Optional[Pipe] = None,
    ) -> None:
        self._core = core
        self._sock: Optional[socket.socket] = sock
        self._owner = owner
        self._pipe = Pipe(core.sndhwm, self) if pipe is None else pipe
        limit = LIMIT if core.maxmsgsize < 0 else core.maxmsgsize
        self._wire = Wire(core.kind, core.identity, limit)
        self._current: List[Any] = [self._wire.take()]  # whole messages, some of it sent
        self._met = self._paused = self._ending = False
        self._watched = 0
        self._linger: Optional[Timer] = None
        self._watch()

    def _handle(self, events: int) -> None:
        if events & OUT:
            self._write()
        if events & ~OUT and self._sock is not None:
            self._read()

    def _read(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(RECEIVE)
            messages = self._wire.receive(data)
            if not self._met and self._wire.peer is not None and not self._meet():
                return
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, ProtocolError, MemoryError):
            self.close()
            return
        if not data:
            self.close()
            return
        self._say(self._wire.take())
        if not self._ending:
            told = [self._core.pattern.arrive(self._pipe, frames) for frames in messages]
            if any(told):
                self._core.wake()
            self._paused = 0 < self._core.rcvhwm <= len(self._pipe.inbox)
        self._write()

    def _meet(self) -> bool:
        """Let the socket talk to the peer; say whether it may."""
        self._met = True
        if self._pipe.port is self:
            assert self._wire.peer is not None
            self._pipe.identity = self._wire.peer.identity
            for refused in self._core.pattern.attach(self._pipe):
                refused.port.close()
        if self._sock is None:
            return False
        self._say(self._wire.take())
        for frames in self._core.pattern.opening():
            self._current += encode(frames)
        self._core.wake()  # there may be somebody to send to now
        return True

    def _say(self, data: bytes) -> None:
        if data:
            self._current.append(data)

    def push(self, frames: Frames) -> None:
        """Send a message.

        What the main thread has is left to the reactor's: there, a KeyboardInterrupt could come
        after a part was sent and before that was noted.
        """
        self._pipe.outbox.append(encode(frames))
        if self._watched & OUT:
            return
        if threading.get_ident() == threading.main_thread().ident:
            self._watch(OUT)
        else:
            self._write()

    def resume(self) -> None:
        """Go on reading."""
        if self._paused:
            self._paused = False
            self._watch(self._watched & OUT)

    def _write(self) -> None:
        assert self._sock is not None
        while self._current or self._fill():
            try:
                sent = self._sock.sendmsg(self._current[:PIECES])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self.close()
                return
            self._take_off(sent)
        if self._ending and self._met and not self._current:
            self.close()
            return
        if self._pipe.blocked and len(self._pipe.outbox) * 2 <= self._pipe.limit:
            self._pipe.blocked = False
            self._core.wake()
        self._watch()

    def _fill(self) -> bool:
        """Make some messages the current ones; say whether there are any."""
        size, outbox = 0, self._pipe.outbox
        while self._met and outbox and size < BATCH:
            parts = outbox.popleft()
            self._current += parts
            size += sum(map(len, parts))
        return bool(self._current)

    def _take_off(self, sent: int) -> None:
        current, whole = self._current, 0
        while whole < len(current) and sent >= len(current[whole]):
            sent -= len(current[whole])
            whole += 1
        del current[:whole]
        if sent:
            current[0] = memoryview(current[0])[sent:]

    def _watch(self, more: int = 0) -> None:
        wanted = more | (OUT if self._current else 0)
        if not self._paused and not (self._ending and self._met):
            wanted |= IN
        if wanted != self._watched and self._sock is not None:
            self._core.reactor.watch(self._sock.fileno(), self._handle, wanted)
            self._watched = wanted

    def end(self, linger: Optional[float]) -> None:
        """Close once all is sent, or after so many seconds."""
        self._ending = True
        if linger == 0 or not (self._pipe.outbox or (self._met and self._current)):
            self.close()
            return
        if linger and self._owner is None:
            self._linger = self._core.reactor.call_later(linger, self.close)
        self._watch(OUT)

    def close(self) -> None:
        """Close at once. What has come can still be received."""
        if self._sock is None:
            return
        self._core.reactor.unwatch(self._sock.fileno())
        self._sock.close()
        self._sock = None
        if self._linger is not None:
            self._linger.cancel()
        if self._pipe.port is self:
            self._core.detach(self._pipe)
        if self._owner is None:
            self._core.drop(self)
        else:
            self._owner.lost()


class Inproc:
    """One end of a pipe to another socket of the same context."""

    __slots__ = ("_core", "_other", "_pipe", "_to")

    def __init__(self, core: Any, to: Any) -> None:
        self._core, self._to = core, to
        self._pipe = _inproc_pipe(core, to, self)
        self._other: Optional[Inproc] = None

    def push(self, frames: Frames) -> None:
        """Hand a message over."""
        assert self._other is not None
        if self._to.pattern.arrive(self._other._pipe, frames):
            self._to.wake()

    def resume(self) -> None:
        """Let the other end go on sending."""
        if self._other is not None and self._other._pipe.blocked and not self._other._pipe.full:
            self._other._pipe.blocked = False
            self._to.wake()

    def end(self, linger: Optional[float]) -> None:
        """Part the two sockets. What has come can still be received."""
        other, self._other = self._other, None
        if other is not None:
            self._core.detach(self._pipe)
            self._core.drop(self)
            other.close()

    def close(self) -> None:
        """Do the same."""
        self.end(None)

    @classmethod
    def join(cls, core: Any, to: Any) -> None:
        """Connect two sockets, unless either refuses."""
        here, there = cls(core, to), cls(to, core)
        here._other, there._other = there, here
        there._pipe.inbox, here._pipe.inbox = here._pipe.outbox, there._pipe.outbox
        for end in (here, there):
            if end._other is None:
                return
            end._core.ports.add(end)
            end._pipe.identity = end._to.identity
            for refused in end._core.pattern.attach(end._pipe):
                refused.port.close()
            end._core.wake()
        for end in (here, there):
            for frames in end._core.pattern.opening():
                end.push(frames)


def _inproc_pipe(core: Any, to: Any, port: Inproc) -> Pipe:
    limits = (core.sndhwm, to.rcvhwm)
    return Pipe(sum(limits) if all(limits) else 0, port)
