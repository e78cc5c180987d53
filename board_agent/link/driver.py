"""Drive a link over a socket, and carry local sockets on its streams.

The same on both ends: the launcher relays the frontend's connections, the agent the kernel's. A
connection that breaks is no end: the local sockets stay, and all goes on over the next one.
"""

import time
from typing import Any, Callable, Dict, Optional, Set

from ..agent.iopub_recorder import IopubRecorder
from .event_loop import Loop
from .events import Credit, Data, Ended, Event, Message, Opened, Pong
from .forwarder import Forwarder
from .frames import ProtocolError
from .link import CHUNK, Link

PEER_TIMEOUT = 10.0  # seconds without a sign of life after which a connection is given up
CHECKS_PER_TIMEOUT = 3  # in that time
PING_TIMEOUT = 1.5  # seconds that the answer to a ping usually takes at most
RECEIVE_SIZE = (
    1 << 16
)  # bytes taken from the transport at once; for more, malloc would ask the system
MAX_QUEUED = 1 << 20  # bytes unsent at which the peer is no longer listened to


class LinkDriver:
    """One end of a link: its transport, if there is one, and a local connection for each stream.

    Parameters: loop; link; on_message, called with each control message; on_lost, called with the
    reason when the transport is lost: a ProtocolError if the link cannot go on, an OSError if it
    waits for `resume`; on_open, called with a stream's number and channel when the peer opens one;
    on_quiet, called when a ping is not answered as soon as usual.
    """

    def __init__(
        self,
        loop: Loop,
        link: Link,
        on_message: Callable[[Dict[str, Any]], None],
        on_lost: Callable[[Exception], None],
        on_open: Optional[Callable[[int, str], None]] = None,
        on_quiet: Callable[[], None] = lambda: None,
    ) -> None:
        self.loop = loop
        self.link = link
        self.forwarders: Dict[int, Forwarder] = {}
        self.paused: Set[Forwarder] = set()
        self.open = True
        self.peer_timeout = PEER_TIMEOUT
        self.heard_at = self.moved_at = time.monotonic()  # anything; bytes of a stream
        self._transport: Any = None
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_open = on_open
        self._on_quiet = on_quiet
        self._out = b""
        self._watched = (False, False)
        self._pinged_at: Optional[float] = None  # unanswered
        self._cancel_check: Callable[[], None] = lambda: None

    @property
    def connected(self) -> bool:
        """Whether there is a transport."""
        return self._transport is not None

    @property
    def ping_pending(self) -> bool:
        """Whether the peer was asked for a sign of life that has not come yet."""
        return self._pinged_at is not None

    @property
    def ping_overdue(self) -> bool:
        """Whether the transport is there, and the peer perhaps is not."""
        if self._transport is None or self._pinged_at is None:
            return False
        return time.monotonic() - self._pinged_at >= PING_TIMEOUT

    @property
    def idle(self) -> bool:
        """Whether the peer has ended all streams, and all it sent has been passed on."""
        return not any(forwarder.expects_more for forwarder in self.forwarders.values())

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be sent that more should wait where it comes from."""
        return self.link.queued_bytes >= CHUNK

    def resume(self, transport: Any, received: int) -> None:
        """Go on over a new transport, in place of one that may be there.

        Parameters: transport, a connected non-blocking socket past the handshake; received, the
        number of the last frame that came to the peer. Raises ProtocolError.
        """
        self.suspend()
        self.link.resume(received)
        self._transport = transport
        self.heard_at = time.monotonic()
        self._pinged_at = None
        self._cancel_check = self.loop.call_later(
            self.peer_timeout / CHECKS_PER_TIMEOUT, self._check_peer
        )
        self._resume_paused()
        self.flush()

    def suspend(self) -> None:
        """Close the transport, and let all wait for the next one."""
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        self._cancel_check()
        self.loop.watch(transport, None, None)
        transport.close()
        self._out = b""
        self._watched = (False, False)
        for number in self.link.unreliable_streams():
            self.link.reset(number)
            if number in self.forwarders:
                self.forwarders[number].close()
        self._resume_paused()

    def close(self) -> None:
        """Close the transport and every local connection, for good."""
        self.open = False
        self.suspend()
        for forwarder in tuple(self.forwarders.values()):
            forwarder.close()

    def message(self, content: Dict[str, Any]) -> None:
        """Send a control message."""
        self.link.message(content)
        self.flush()

    def connect(self, channel: str, sock: Any) -> None:
        """Open a stream to a channel of the peer's for a local connection."""
        self.attach(self.link.open(channel), sock)
        self.flush()

    def attach(self, number: int, sock: Any, recorder: Optional[IopubRecorder] = None) -> Forwarder:
        """Carry a local connection on a stream that is open already.

        Parameters: tape, which has a spool for what comes from it while there is no transport.
        """
        sock.setblocking(False)
        self.forwarders[number] = forwarder = Forwarder(self, number, sock, recorder)
        forwarder.watch()
        return forwarder

    def receive_data(self, data: bytes) -> None:
        """Take bytes that were read from the transport."""
        self.heard_at = time.monotonic()
        self._pinged_at = None
        try:
            for event in self.link.receive_data(data):
                self._handle(event)
        except ProtocolError as error:
            self._on_disconnect(error)
            return
        if self.paused:
            self._resume_paused()  # what was acknowledged has made room
        self.flush()

    def flush(self) -> None:
        """Hand the transport what it takes, the most urgent first."""
        while self._transport is not None and (self._out or self._fill()):
            try:
                sent = self._transport.send(self._out)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._on_disconnect(error)
                return
            self._out = self._out[sent:]
        self._watch()

    def _fill(self) -> bool:
        self._out = self.link.data_to_send()
        if self._out and self.paused:
            self._resume_paused()
        return bool(self._out)

    def _resume_paused(self) -> None:
        for forwarder in tuple(self.paused):
            forwarder.watch()

    def _on_disconnect(self, error: Exception) -> None:
        if self._transport is not None:
            self.suspend()
            self._on_lost(error)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Message):
            self._on_message(event.content)
            return
        if isinstance(event, Opened):
            assert self._on_open is not None
            if self.open:  # an event before this one may have ended it
                self._on_open(event.stream, event.channel)
            return
        forwarder = None if isinstance(event, Pong) else self.forwarders.get(event.stream)
        if forwarder is None:
            return
        if isinstance(event, Data):
            self.moved_at = self.heard_at
            forwarder.write(event.data)
        elif isinstance(event, Credit):
            forwarder.watch()
        elif isinstance(event, Ended):
            forwarder.end_writing()
        else:
            forwarder.close()

    def _on_readable(self) -> None:
        try:
            data = self._transport.recv(RECEIVE_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._on_disconnect(error)
            return
        if data:
            self.receive_data(data)
        else:
            self._on_disconnect(ConnectionResetError("the connection was closed at the other end"))

    def _watch(self) -> None:
        if self._transport is None:
            return
        wanted = (self.link.queued_bytes < MAX_QUEUED, bool(self._out))
        if wanted != self._watched:
            self._watched = wanted
            self.loop.watch(
                self._transport,
                self._on_readable if wanted[0] else None,
                self.flush if wanted[1] else None,
            )

    def _check_peer(self) -> None:
        """See whether the peer is there: ask it, and after a time give it up."""
        now = time.monotonic()
        silent = now - self.heard_at
        pause = self.peer_timeout / CHECKS_PER_TIMEOUT
        if silent >= self.peer_timeout:
            self._on_disconnect(TimeoutError("nothing was heard for %.0f s" % silent))
            return
        if silent < pause / 2:
            self.link.acknowledge()  # a peer with much to say hears little else from us
        else:
            pause = min(pause, PING_TIMEOUT, self.peer_timeout - silent)
            if self.ping_overdue:
                self._on_quiet()
            self.ping()
        self._cancel_check = self.loop.call_later(pause, self._check_peer)
        self.flush()

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        self.link.ping()
        self._pinged_at = self._pinged_at or time.monotonic()
        self.flush()
