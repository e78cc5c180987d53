"""A local connection, and the stream of the link that carries it."""

import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Deque, Optional

from ..agent.iopub_recorder import IopubRecorder
from .link import CHUNK

if TYPE_CHECKING:
    from .driver import LinkDriver


class Forwarder:
    """A local connection and its stream.

    Parameters: relay; number of the stream; sock, non-blocking; tape, with a spool for what the
    connection says while the relay has no transport. Without one, and once it is full, the
    connection waits.
    """

    def __init__(
        self, driver: "LinkDriver", number: int, sock: Any, recorder: Optional[IopubRecorder]
    ) -> None:
        self._driver = driver
        self._link = driver.link
        self.number = number
        self._sock = sock
        self._recorder = recorder
        self._spool = recorder.spool if recorder is not None else None
        # Something is in the spool, and all that comes has to follow it.
        self._spooling = recorder is not None and (recorder.awaits_greeting or bool(recorder.spool))
        self._waiting: Deque[bytes] = deque()
        self._reading = True
        self._writing = True
        self._blocked = False

    @property
    def expects_more(self) -> bool:
        """Whether the peer may still send on this stream, or something sent still waits here."""
        return self._writing or bool(self._waiting)

    @property
    def has_said_all(self) -> bool:
        """Whether all that the connection will ever say is in the link."""
        return not (self._reading or self._spooling)

    def watch(self) -> None:
        """Listen to the connection as far as there is room; send and write what waits."""
        self._empty_spool()
        if self._driver.forwarders.get(self.number) is not self:
            return  # the spool was lost, and all with it
        if not (self._reading or self._writing or self._waiting or self._spooling):
            self.close()
            return
        reading = self._reading and (self._credit() or self._spool_room()) > 0
        paused = self._spooling or (self._reading and not reading)
        (self._driver.paused.add if paused else self._driver.paused.discard)(self)
        self._driver.loop.watch(
            self._sock,
            self._on_readable if reading else None,
            self._on_writable if self._waiting else None,
        )

    def write(self, data: bytes) -> None:
        """Pass the peer's bytes on, now or when the connection takes them."""
        if self._recorder is not None:
            size, greeted = len(data), self._recorder.awaits_greeting
            data = self._recorder.incoming(data)
            self._link.consumed(self.number, size - len(data))
            if greeted:
                self.watch()
            if not data:
                return
        self._waiting.append(data)
        if len(self._waiting) == 1:
            self._drain()

    def end_writing(self) -> None:
        """Pass on that the peer sends no more, after what still waits."""
        self._writing = False
        if not self._waiting:
            self._shut_down()

    def release(self) -> Any:
        """Let go of the connection, and return it, still open."""
        self._driver.loop.watch(self._sock, None, None)
        self._driver.paused.discard(self)
        self._driver.forwarders.pop(self.number, None)
        return self._sock

    def close(self) -> None:
        """Close the connection."""
        self.release().close()
        if self._spool is not None:
            self._spool.close()

    def _credit(self) -> int:
        """Return the bytes that the link takes from the connection now."""
        return 0 if self._spooling else self._link.credit(self.number)

    def _spool_room(self) -> int:
        """Return the bytes that the spool takes now."""
        if self._spool is None or self._driver.connected:
            return 0
        return min(CHUNK, self._spool.room)

    def _empty_spool(self) -> None:
        while self._spooling:
            assert self._recorder is not None and self._spool is not None
            room = self._link.credit(self.number)
            if not room or self._recorder.awaits_greeting:
                return
            if self._spool:
                try:
                    data = self._spool.popleft(room)
                except OSError as error:
                    self._give_up("output was lost, the board's disk failed: %s" % error)
                    return
                self._link.send(self.number, data)
            self._spooling = bool(self._spool)
        if not self._reading:
            self._link.end(self.number)

    def _on_readable(self) -> None:
        credit = self._credit()
        room = credit or self._spool_room()
        try:
            data = self._sock.recv(room) if room else None
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""  # what it said before still counts
        if data and self._recorder is not None:
            data = self._recorder.outgoing(data) or None
        if data and len(data) <= credit:
            self._link.send(self.number, data)
        elif data:
            assert self._spool is not None
            self._spool.append(data)
            self._spooling = True
        elif data is not None:
            self._reading = False
            self._empty_spool()
        self._driver.flush()
        if not data or self._spooling or not (self._credit() or self._spool_room()):
            self._rewatch()

    def _rewatch(self) -> None:
        if self._driver.forwarders.get(self.number) is self:  # else it was closed meanwhile
            self.watch()

    def _on_writable(self) -> None:
        self._drain()
        self._driver.flush()  # what was consumed may have made credit for the peer

    def _drain(self) -> None:
        blocked = False
        while self._waiting and not blocked:
            data = self._waiting[0]
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._fail()
                return
            self._link.consumed(self.number, sent)
            blocked = sent < len(data)
            if blocked:
                self._waiting[0] = data[sent:]
            else:
                self._waiting.popleft()
        if blocked != self._blocked:
            self._blocked = blocked
            self.watch()
        if not self._writing and not self._waiting:
            self._shut_down()

    def _shut_down(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is gone already, as reading will tell
        self._rewatch()

    def _give_up(self, why: str) -> None:
        self._spooling = False
        self._link.reset(self.number)
        self.close()
        self._driver.message({"type": "note", "text": why})  # last: it makes others look at us

    def _fail(self) -> None:
        """Give up writing; what the connection said before still goes out."""
        self._writing = False
        self._waiting.clear()
        if self._spooling:
            self._reading = False
            self.watch()
        else:
            self._link.reset(self.number)
            self.close()
