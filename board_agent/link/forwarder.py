"""A local connection, and the stream of the link that carries it."""

import enum
import socket
from collections import deque
from typing import Any, Deque

from .event_loop import AnyLoop
from .link import CHUNK
from .messages import Note, to_json
from .stream_end import StreamEnd


class State(enum.Enum):
    """Which of the two, the local connection and the peer, may still send something."""

    OPEN = "both"
    LOCAL_ENDED = "the peer"
    PEER_ENDED = "the local connection"
    ENDED = "nobody"
    CLOSED = "closed"


_LOCAL_END = {State.OPEN: State.LOCAL_ENDED, State.PEER_ENDED: State.ENDED}
_PEER_END = {State.OPEN: State.PEER_ENDED, State.LOCAL_ENDED: State.ENDED}


class Forwarder(StreamEnd):
    """Carry a local connection on a stream.

    A recorder has: `outgoing(data)`, which returns what the peer gets of what the connection sends;
    `incoming(data)`, the same for the other direction; `keep(data)`, `take(size)`, `room` and a
    length, of what it keeps; `awaits_peer`, whether the peer has to send first; and `close()`.

    Args:
        loop: Watches the connection.
        sock: The connection, or None for one that comes later (`connect`).
        recorder: Keeps what the connection sends while the link has no transport, and has a say in
            what is passed on. Without one, and once it is full, the connection waits.
    """

    def __init__(self, loop: AnyLoop, sock: Any, recorder: Any = None) -> None:
        self._loop = loop
        self._sock = sock
        self._recorder = recorder
        self._state = State.OPEN
        self._waiting: Deque[bytes] = deque()  # of the peer's, for the connection
        self._blocked = False  # whether the connection is watched until it takes them
        if sock is not None:
            sock.setblocking(False)

    @property
    def closed(self) -> bool:
        """Whether the connection was closed or released."""
        return self._state is State.CLOSED

    @property
    def expects_more(self) -> bool:
        """Whether the peer may still send on this stream, or something sent still waits here."""
        return self._state in _PEER_END or bool(self._waiting)

    @property
    def has_said_all(self) -> bool:
        """Whether all that the connection will ever send is in the link."""
        return self._sock is None or not (self._reading or self._keeps)

    @property
    def _reading(self) -> bool:
        return self._state in _LOCAL_END

    @property
    def _keeps(self) -> bool:
        """Whether the recorder keeps something; all that comes now has to follow it."""
        recorder = self._recorder
        return recorder is not None and (bool(len(recorder)) or recorder.awaits_peer)

    def connect(self, sock: Any) -> None:
        """Use a connection that did not exist when the stream was opened."""
        sock.setblocking(False)
        self._sock = sock
        self.update()
        self._drain()

    def update(self) -> None:
        """Listen to the connection as far as there is room; send what is kept."""
        if not self.closed:
            self._send_kept()
        if self.closed or self._sock is None:
            return
        if self._state is State.ENDED and not (self._waiting or self._keeps):
            self.close()
            return
        listening = self._reading and self._room() > 0
        self._blocked = bool(self._waiting)
        self.waits_for_room = self._keeps or (self._reading and not listening)
        self._loop.watch(
            self._sock,
            self._on_readable if listening else None,
            self._drain if self._blocked else None,
        )

    def receive_data(self, data: bytes) -> None:
        """Pass the peer's bytes on, now or when the connection takes them."""
        if self._recorder is not None:
            size, awaited = len(data), self._recorder.awaits_peer
            data = self._recorder.incoming(data)
            self.link.consumed(self.number, size - len(data))
            if awaited:
                self.update()
        if data:
            self._waiting.append(data)
        if not self._blocked:
            self._drain()

    def receive_end(self) -> None:
        """Pass on that the peer sends no more, after what still waits."""
        self._state = _PEER_END.get(self._state, self._state)
        if not self._waiting:
            self._end_writing()

    def release(self) -> Any:
        """Let go of the connection, and return it, still open."""
        if self._sock is not None:
            self._loop.watch(self._sock, None, None)
        if not self.closed:
            self._state = State.CLOSED
            self.waits_for_room = False
            self.on_closed(self)
        return self._sock

    def close(self) -> None:
        """Close the connection."""
        sock = self.release()
        if sock is not None:
            sock.close()
        if self._recorder is not None:
            self._recorder.close()

    def _room(self) -> int:
        """Return the bytes that can be read from the connection now."""
        credit: int = 0 if self._keeps else self.link.credit(self.number)
        if credit or self._recorder is None or self.link.connected:
            return credit
        return min(CHUNK, int(self._recorder.room))

    def _send_kept(self) -> None:
        """Send what the recorder keeps, and then the end of the connection, if it has ended."""
        while self._keeps:
            assert self._recorder is not None
            room = self.link.credit(self.number)
            if not room or self._recorder.awaits_peer:
                return
            try:
                data = self._recorder.take(room)
            except OSError as error:
                text = "output was lost, the board's disk failed: %s" % error
                self.link.message(to_json(Note(text)))
                self._give_up()
                return
            self.link.send(self.number, data)
            self.on_progress()
        if not self._reading and self.link.end(self.number):
            self.on_progress()

    def _on_readable(self) -> None:
        room = self._room()
        if not room:
            self.update()
            return
        try:
            data = self._sock.recv(room)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""  # what it sent before still counts
        if data:
            self._pass_on(data)
        else:
            self._state = _LOCAL_END[self._state]
        if not data or not self._room():
            self.update()

    def _pass_on(self, data: bytes) -> None:
        if self._recorder is not None:
            data = self._recorder.outgoing(data)
        if not data:
            return
        if not self._keeps and len(data) <= self.link.credit(self.number):
            self.link.send(self.number, data)
            self.on_progress()
        else:
            assert self._recorder is not None
            self._recorder.keep(data)

    def _drain(self) -> None:
        """Write what waits, as far as the connection takes it."""
        blocked = self._sock is None
        while self._waiting and not blocked:
            data = self._waiting[0]
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._fail()
                return
            self.link.consumed(self.number, sent)
            blocked = sent < len(data)
            if blocked:
                self._waiting[0] = data[sent:]
            else:
                self._waiting.popleft()
        self.on_progress()  # what was consumed may have made credit for the peer
        if self._state not in _PEER_END and not self._waiting:
            self._end_writing()
        elif self._blocked != bool(self._waiting):
            self.update()

    def _end_writing(self) -> None:
        """Tell the connection that no more comes."""
        if self._sock is None:
            self._give_up()
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is gone already, as reading will tell
        self.update()

    def _fail(self) -> None:
        """Give up writing; what the connection sent before still goes out."""
        self._waiting.clear()
        if self._keeps:
            self._state = State.ENDED
            self.update()
        else:
            self._give_up()

    def _give_up(self) -> None:
        self.link.reset(self.number)
        self.on_progress()
        self.close()
