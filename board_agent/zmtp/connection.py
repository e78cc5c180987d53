"""A connection: what moves a socket's messages to one peer, and the peer's to the socket.

Call all of it with the reactor's lock held.
"""

import socket
import threading
from typing import Any, Callable, List, Optional

from .patterns import Frames, Pipe
from .reactor import IN, OUT, Timer
from .wire import MAX_MESSAGE, ProtocolError, Wire, encode

RECEIVE = 1 << 16  # bytes taken from a connection at once
BATCH = 1 << 14  # bytes of messages that no longer count as waiting
PIECES = 64  # that one call sends


class Connection:
    """Move messages between a socket and one peer.

    Args:
        core: The socket.
        sock: What is connected, and does not block.
        lost: Called when the connection is lost. Without it, the socket itself is the owner.
        pipe: The owner's. Without it, the connection gets one when the peer has introduced itself.
    """

    __slots__ = (
        "_core",
        "_current",
        "_ending",
        "_linger",
        "_lost",
        "_met",
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
        lost: Optional[Callable[[], None]] = None,
        pipe: Optional[Pipe] = None,
    ) -> None:
        self._core = core
        self._sock: Optional[socket.socket] = sock
        self._lost = lost
        self._pipe = Pipe(core.sndhwm, self) if pipe is None else pipe
        limit = MAX_MESSAGE if core.maxmsgsize < 0 else core.maxmsgsize
        self._wire = Wire(core.kind, core.identity, limit)
        self._current: List[Any] = [self._wire.data_to_send()]  # whole messages, some of it sent
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
            messages = self._wire.receive_data(data)
            if not self._met and self._wire.peer is not None and not self._on_ready():
                return
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, ProtocolError, MemoryError):
            self.close()
            return
        if not data:
            self.close()
            return
        self._say(self._wire.data_to_send())
        if not self._ending:
            receivable = [self._core.pattern.deliver(self._pipe, frames) for frames in messages]
            if any(receivable):
                self._core.wake()
            self._paused = 0 < self._core.rcvhwm <= len(self._pipe.inbox)
        self._write()

    def _on_ready(self) -> bool:
        """Let the socket talk to the peer; return whether it may."""
        self._met = True
        if self._pipe.port is self:
            assert self._wire.peer is not None
            self._pipe.identity = self._wire.peer.identity
            for refused in self._core.pattern.attach(self._pipe):
                refused.port.close()
        if self._sock is None:
            return False
        self._say(self._wire.data_to_send())
        for frames in self._core.pattern.opening():
            self._current += encode(frames)
        self._core.wake()  # there may be somebody to send to now
        return True

    def _say(self, data: bytes) -> None:
        if data:
            self._current.append(data)

    def push(self, frames: Frames) -> None:
        """Send a message.

        The reactor's thread sends what the main thread pushes: in the main thread, a
        KeyboardInterrupt could come after a part was sent and before that was noted.
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
        """Make some messages the current ones; return whether there are any."""
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
        """Close once all is sent, or after `linger` seconds; None means no limit."""
        self._ending = True
        if linger == 0 or not (self._pipe.outbox or (self._met and self._current)):
            self.close()
            return
        if linger and self._lost is None:
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
        if self._lost is None:
            self._core.drop(self)
        else:
            self._lost()
