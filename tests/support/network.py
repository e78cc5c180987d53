"""A bad network: a TCP proxy on 127.0.0.1 that drops, swallows, delays and throttles at will."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

HERE = "127.0.0.1"
BACKLOG = 128
READ_BYTES = 1 << 14
QUEUE_BYTES = 1 << 18  # that are on their way in one direction, unless the line is slow
QUEUE_SECONDS = 0.5  # worth of bytes are on their way over a slow line
ANSWER_SECONDS = 10.0  # for the proxy's thread to do what it is told
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close() sends a RST, see socket(7)

T = TypeVar("T")


@dataclass(frozen=True)
class Weather:
    """How the network is: what it refuses, which directions it holds, how slow it is.

    `up` leads from the client to the server, `down` back.
    """

    refuses: bool = False
    up_held: bool = False
    down_held: bool = False
    bytes_per_second: float = float("inf")
    delay_seconds: float = 0.0


FAIR = Weather()


@dataclass(eq=False)
class Flow:
    """One direction of a connection: what was read, and when each piece of it may go on."""

    source: socket.socket
    sink: socket.socket
    pieces: deque[tuple[float, bytes]] = field(default_factory=deque)
    size: int = 0
    free: float = 0.0  # when the line is free for the next piece
    ended: bool = False  # the source has no more to say
    closed: bool = False  # and the sink was told

    def read(self, weather: Weather) -> int:
        """Read a piece, and return its size in bytes. Raises OSError."""
        data = self.source.recv(min(READ_BYTES, _room(weather)))
        now = time.monotonic()
        self.free = max(now, self.free) + len(data) / weather.bytes_per_second
        self.ended = not data
        self.size += len(data)
        self.pieces.append((self.free + weather.delay_seconds, data))
        return len(data)

    def write(self) -> None:
        """Send what is due. Raises OSError."""
        due, data = self.pieces.popleft()
        if data:
            sent = self.sink.send(data)
            self.size -= sent
            if sent < len(data):
                self.pieces.appendleft((due, data[sent:]))
        else:
            self.sink.shutdown(socket.SHUT_WR)
            self.closed = True

    def hurry(self) -> None:
        """Make everything due: the line is not slow any more."""
        self.free = 0.0
        self.pieces = deque((0.0, data) for _, data in self.pieces)


@dataclass(eq=False)
class Connection:
    """A client's connection to the proxy, and the proxy's to the server."""

    client: socket.socket
    server: socket.socket

    def __post_init__(self) -> None:
        self.up = Flow(self.client, self.server)
        self.down = Flow(self.server, self.client)

    def close(self) -> None:
        """End it at both ends at once, with a RST if either still has something to say."""
        for sock, over in ((self.client, self.up.ended), (self.server, self.down.ended)):
            if not (over and self.up.closed and self.down.closed):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()


class Network:
    """A proxy for a server that can be told, at any time, to be a bad network.

    What it is told holds for all connections, present and future, replaces what it was told before,
    and is in force when the call returns. Its port stays the same. It works as a context manager,
    which closes everything at its end.

    It carries TCP and does not see packets, so some of it is a stand-in: the kernel of this machine
    acknowledges what is sent into a hole, as far as its socket buffers take it, where a real sender
    would retransmit ever more rarely; and a connection made during a hole is established with the
    proxy at once, but not answered, where the first packet of a real one would be lost. So nothing
    here has TCP's own pauses after an outage, which are seconds long.

    Parameters: host and port of the server; at, the proxy's own port, or 0 for any.
    """

    def __init__(self, host: str, port: int, *, at: int = 0) -> None:
        self._server = host, port
        self._reserved = _bound(at)  # never listens: it keeps the port ours while none does
        self.port: int = self._reserved.getsockname()[1]
        self._weather = FAIR
        self._connections: set[Connection] = set()
        self._sent = 0
        self._stranded: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._calls: deque[Callable[[], None]] = deque()
        self._wake_in, self._wake_out = socket.socketpair()
        self._running = True
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name=f"network-{self.port}", daemon=True)

    def __enter__(self) -> Network:
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._listen(True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """How many connections are carried now."""
        return self._do(lambda: len(self._connections))

    @property
    def sent(self) -> int:
        """How many bytes clients have sent, over all connections there ever were."""
        return self._do(lambda: self._sent)

    def reset(self) -> None:
        """Reset all connections, and refuse new ones: the network is gone, and says so."""
        self._become(Weather(refuses=True))

    def blip(self) -> None:
        """Reset all connections, once; new ones are welcome."""
        self._do(self._drop)

    def hole(self, *, up: bool = True, down: bool = True) -> None:
        """Hold all bytes, close nothing, and answer no new connection: a black hole.

        Parameters: up, what clients send is held; down, what the server sends is held. With one of
        them only, the other direction of present connections goes on.
        """
        self._become(Weather(up_held=up, down_held=down))

    def slow(self, bytes_per_second: float, delay_seconds: float = 0.0) -> None:
        """Let so many bytes a second pass in each direction, each of them so much later."""
        self._become(Weather(bytes_per_second=bytes_per_second, delay_seconds=delay_seconds))

    def restore(self, *, lost: bool = False, told: bool = True) -> None:
        """Be a good network again.

        Parameters: lost, the connections of before are lost: what was held never arrives, and their
        clients are never told (half-open), otherwise what was held flows on; told, whether their
        servers learn of the loss, by a RST, or wait for ever like the clients.
        """
        if lost:
            self._do(lambda: self._strand(told))
        self._become(FAIR)

    def close(self) -> None:
        """Close everything; harmless when done already."""
        if not self._running:
            return
        if self._thread.is_alive():
            self._do(self._stop)
            self._thread.join(ANSWER_SECONDS)
        for sock in (self._reserved, self._wake_in, self._wake_out):
            sock.close()
        self._selector.close()

    def _do(self, action: Callable[[], T]) -> T:
        """Have the proxy's thread do something, and return what it returns."""
        done = threading.Event()
        result: list[T] = []

        def call() -> None:
            try:
                result.append(action())
            finally:
                done.set()

        self._calls.append(call)
        self._wake_out.send(b"!")
        if not done.wait(ANSWER_SECONDS) or not result:
            raise RuntimeError(f"the proxy at port {self.port} does not do what it is told")
        return result[0]

    def _become(self, weather: Weather) -> None:
        def change() -> None:
            self._weather = weather
            self._listen(not weather.refuses)
            if weather.refuses:
                self._drop()
            for flow in self._flows():
                flow.hurry()

        self._do(change)

    def _stop(self) -> None:
        self._running = False
        self._listen(False)
        self._drop()
        for sock in self._stranded:
            sock.close()

    def _listen(self, wanted: bool) -> None:
        if wanted and self._listener is None:
            self._listener = _bound(self.port)
            self._listener.listen(BACKLOG)
            self._listener.setblocking(False)
        elif not wanted and self._listener is not None:
            self._watch(self._listener, 0)
            self._listener.close()
            self._listener = None

    def _drop(self) -> None:
        for connection in list(self._connections):
            self._end(connection)

    def _strand(self, told: bool) -> None:
        for connection in self._connections:
            self._watch(connection.client, 0)
            self._watch(connection.server, 0)
            self._stranded.append(connection.client)
            if told:
                connection.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.server.close()
            else:
                self._stranded.append(connection.server)
        self._connections.clear()

    def _run(self) -> None:
        while self._running:
            for key, events in self._selector.select(self._plan()):
                if key.fileobj is self._wake_in:
                    self._run_calls()
                    break  # the other events are of before
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._connections:
                    self._carry(key.data, key.fileobj, events)

    def _run_calls(self) -> None:
        self._wake_in.recv(READ_BYTES)
        while self._calls:
            self._calls.popleft()()

    def _plan(self) -> float | None:
        """Say to the selector what to wait for; return for how many seconds at most."""
        now, due = time.monotonic(), float("inf")
        if self._listener is not None:
            held = self._weather.up_held or self._weather.down_held
            self._watch(self._listener, 0 if held else selectors.EVENT_READ)
        for connection in self._connections:
            wanted = {connection.client: 0, connection.server: 0}
            for flow, held in self._directions(connection):
                if held:
                    continue
                if not flow.ended and flow.size < _room(self._weather):
                    wanted[flow.source] |= selectors.EVENT_READ
                if flow.pieces and flow.pieces[0][0] <= now:
                    wanted[flow.sink] |= selectors.EVENT_WRITE
                elif flow.pieces:
                    due = min(due, flow.pieces[0][0])
            for sock, events in wanted.items():
                self._watch(sock, events, connection)
        return None if due == float("inf") else max(0.0, due - now)

    def _carry(self, connection: Connection, sock: object, events: int) -> None:
        try:
            for flow, _ in self._directions(connection):
                if sock is flow.source and events & selectors.EVENT_READ:
                    size = flow.read(self._weather)
                    self._sent += size if flow is connection.up else 0
                if sock is flow.sink and events & selectors.EVENT_WRITE:
                    flow.write()
        except BlockingIOError:
            return
        except OSError:
            self._end(connection)
            return
        if connection.up.closed and connection.down.closed:
            self._end(connection)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # it has gone again
        server = socket.socket()
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.connect_ex(self._server)  # a failure shows when it is read or written
        self._connections.add(Connection(client, server))

    def _end(self, connection: Connection) -> None:
        self._watch(connection.client, 0)
        self._watch(connection.server, 0)
        self._connections.discard(connection)
        with contextlib.suppress(OSError):
            connection.close()

    def _watch(
        self, sock: socket.socket, events: int, connection: Connection | None = None
    ) -> None:
        key = self._selector.get_map().get(sock)
        if key is None and events:
            self._selector.register(sock, events, connection)
        elif key is not None and not events:
            self._selector.unregister(sock)
        elif key is not None and key.events != events:
            self._selector.modify(sock, events, connection)

    def _directions(self, connection: Connection) -> list[tuple[Flow, bool]]:
        weather = self._weather
        return [(connection.up, weather.up_held), (connection.down, weather.down_held)]

    def _flows(self) -> Iterator[Flow]:
        for connection in self._connections:
            yield connection.up
            yield connection.down


def _room(weather: Weather) -> int:
    """Return how many bytes may be on their way in one direction."""
    seconds = weather.delay_seconds + QUEUE_SECONDS
    return int(max(1, min(QUEUE_BYTES, weather.bytes_per_second * seconds)))


def _bound(port: int) -> socket.socket:
    """Return a socket at a port; several can be, as long as one of them at most listens."""
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HERE, port))
    except BaseException:
        sock.close()
        raise
    return sock
