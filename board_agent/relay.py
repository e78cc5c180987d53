"""Drive a link over a socket, and carry local sockets on its streams.

The same on both ends: the launcher relays the frontend's connections, the agent the kernel's.
"""

import socket
from collections import deque
from typing import Any, Callable, Deque, Dict, Optional, Set

from .link import (
    CHUNK,
    Credit,
    Data,
    Ended,
    Event,
    Link,
    Message,
    Opened,
    Pong,
    ProtocolError,
)
from .loop import Loop

PING_AFTER = 5.0  # seconds of silence
GIVE_UP_AFTER = 15.0  # seconds of silence
RECEIVE = 1 << 18  # bytes taken from the transport at once
BACKLOG = 1 << 20  # bytes unsent at which the peer is no longer listened to


class Relay:
    """One end of a live link: its transport, and a local connection for each stream.

    Parameters: loop; transport, a connected non-blocking socket past the handshake; link;
    on_message, called with each control message; on_close, called once with the reason when the
    link is over; on_open, called with a stream's number and channel when the peer opens one.
    """

    def __init__(
        self,
        loop: Loop,
        transport: Any,
        link: Link,
        on_message: Callable[[Dict[str, Any]], None],
        on_close: Callable[[str], None],
        on_open: Optional[Callable[[int, str], None]] = None,
    ) -> None:
        self.loop = loop
        self.link = link
        self.legs: Dict[int, Leg] = {}
        self.paused: Set[Leg] = set()
        self.open = True
        self._transport = transport
        self._on_message = on_message
        self._on_close = on_close
        self._on_open = on_open
        self._out = b""
        self._watched = (False, False)
        self._heard = True
        self._silence = 0.0
        self._watch()
        self._cancel_check = loop.call_later(PING_AFTER, self._check_silence)

    @property
    def quiet(self) -> bool:
        """Whether the peer has ended all streams, and all it sent has been passed on."""
        return not any(leg.expects_more for leg in self.legs.values())

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be sent that more should wait where it comes from."""
        return self.open and self.link.unsent >= CHUNK

    def message(self, content: Dict[str, Any]) -> None:
        """Send a control message."""
        if self.open:
            self.link.message(content)
            self.flush()

    def connect(self, channel: str, sock: Any) -> None:
        """Open a stream to a channel of the peer's for a local connection."""
        self.attach(self.link.open(channel), sock)
        self.flush()

    def attach(self, number: int, sock: Any) -> None:
        """Carry a local connection on a stream that is open already."""
        sock.setblocking(False)
        self.legs[number] = leg = Leg(self, number, sock)
        leg.watch()

    def receive(self, data: bytes) -> None:
        """Take bytes that were read from the transport."""
        self._heard = True
        try:
            for event in self.link.receive(data):
                self._handle(event)
        except ProtocolError as error:
            self.close("the other end broke the protocol: %s" % error)
        else:
            self.flush()

    def flush(self) -> None:
        """Hand the transport what it takes, the most urgent first."""
        while self.open and (self._out or self._take()):
            try:
                sent = self._transport.send(self._out)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self.close(str(error))
                return
            self._out = self._out[sent:]
        if self.open:
            self._watch()

    def _take(self) -> bool:
        self._out = self.link.take()
        if self._out:
            for leg in tuple(self.paused):
                leg.watch()
        return bool(self._out)

    def close(self, reason: str) -> None:
        """Close the transport and every local connection, and tell `on_close` why."""
        if not self.open:
            return
        self.open = False
        self._cancel_check()
        self.loop.watch(self._transport, None, None)
        self._transport.close()
        for leg in tuple(self.legs.values()):
            leg.close()
        self._on_close(reason)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Message):
            self._on_message(event.content)
            return
        if isinstance(event, Opened):
            assert self._on_open is not None
            if self.open:  # an event before this one may have ended it
                self._on_open(event.stream, event.channel)
            return
        leg = None if isinstance(event, Pong) else self.legs.get(event.stream)
        if leg is None:
            return
        if isinstance(event, Data):
            leg.write(event.data)
        elif isinstance(event, Credit):
            leg.watch()
        elif isinstance(event, Ended):
            leg.end_writing()
        else:
            leg.close()

    def _on_readable(self) -> None:
        try:
            data = self._transport.recv(RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.close(str(error))
            return
        if data:
            self.receive(data)
        else:
            self.close("the connection was closed at the other end")

    def _watch(self) -> None:
        wanted = (self.link.unsent < BACKLOG, bool(self._out))
        if wanted != self._watched:
            self._watched = wanted
            self.loop.watch(
                self._transport,
                self._on_readable if wanted[0] else None,
                self.flush if wanted[1] else None,
            )

    def _check_silence(self) -> None:
        self._silence = 0.0 if self._heard else self._silence + PING_AFTER
        self._heard = False
        if self._silence >= GIVE_UP_AFTER:
            self.close("nothing was heard for %.0f s" % self._silence)
            return
        self._cancel_check = self.loop.call_later(PING_AFTER, self._check_silence)
        if self._silence:
            self.link.ping()
        else:
            self.link.acknowledge()  # a peer with much to say hears little else from us
        self.flush()


class Leg:
    """A local connection and its stream."""

    def __init__(self, relay: Relay, number: int, sock: Any) -> None:
        self._relay = relay
        self._link = relay.link
        self._number = number
        self._sock = sock
        self._waiting: Deque[bytes] = deque()
        self._reading = True
        self._writing = True
        self._blocked = False

    @property
    def expects_more(self) -> bool:
        """Whether the peer may still send on this stream, or something sent still waits here."""
        return self._writing or bool(self._waiting)

    def watch(self) -> None:
        """Listen to the connection as far as the stream has credit; write what waits."""
        paused = self._reading and not self._link.credit(self._number)
        (self._relay.paused.add if paused else self._relay.paused.discard)(self)
        self._relay.loop.watch(
            self._sock,
            self._on_readable if self._reading and not paused else None,
            self._on_writable if self._waiting else None,
        )

    def write(self, data: bytes) -> None:
        """Pass the peer's bytes on, now or when the connection takes them."""
        self._waiting.append(data)
        if len(self._waiting) == 1:
            self._drain()

    def end_writing(self) -> None:
        """Pass on that the peer sends no more, after what still waits."""
        self._writing = False
        if not self._waiting:
            self._shut_down()

    def close(self) -> None:
        """Close the connection."""
        self._relay.loop.watch(self._sock, None, None)
        self._sock.close()
        self._relay.paused.discard(self)
        self._relay.legs.pop(self._number, None)

    def _on_readable(self) -> None:
        room = self._link.credit(self._number)
        try:
            data = self._sock.recv(room) if room else None
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._fail()
            self._relay.flush()
            return
        if data:
            self._link.send(self._number, data)
        elif data is not None:
            self._reading = False
            self._link.end(self._number)
        self._relay.flush()
        if not data or not self._link.credit(self._number):
            self._rewatch()

    def _rewatch(self) -> None:
        if self._relay.legs.get(self._number) is not self:
            return  # closed meanwhile
        if self._reading or self._writing or self._waiting:
            self.watch()
        else:
            self.close()

    def _on_writable(self) -> None:
        self._drain()
        self._relay.flush()  # what was consumed may have made credit for the peer

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
            self._link.consumed(self._number, sent)
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

    def _fail(self) -> None:
        self._link.reset(self._number)
        self.close()
