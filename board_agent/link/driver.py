"""Drive a link over a transport, and bring what comes to the ends of its streams.

Both ends of a link use it. When a connection breaks, the ends of the streams stay, and all goes on
over the next one.
"""

import time
from typing import Any, Callable, Dict, Optional

from .event_loop import AnyLoop
from .events import Credit, Data, Ended, Event, Message, Opened, Pong, Reset
from .frames import ProtocolError
from .link import CHUNK, Link
from .messages import to_json
from .stream_end import StreamEnd

PEER_TIMEOUT = 10.0  # seconds without a sign of life after which a connection is given up
CHECKS_PER_TIMEOUT = 3
PING_TIMEOUT = 1.5  # seconds that the answer to a ping usually takes at most
RECEIVE_SIZE = 1 << 16  # bytes taken from the transport at once; malloc asks the system for more
MAX_QUEUED = 1 << 20  # bytes unsent at which the peer is no longer listened to


class LinkDriver:
    """One end of a link: its transport, if it has one, and the ends of its streams.

    Args:
        loop: Watches the transport.
        link: The state of this end.
        on_message: Called with each control message, a JSON object.
        on_disconnect: Called with the reason when the transport is lost: a ProtocolError if the
            link cannot go on, an OSError if it waits for `resume`.
        on_open: Called with a stream's number and channel when the peer opens one.
        on_ping_overdue: Called when a ping is not answered as soon as usual.
    """

    def __init__(
        self,
        loop: AnyLoop,
        link: Link,
        on_message: Callable[[Dict[str, Any]], None],
        on_disconnect: Callable[[Exception], None],
        on_open: Optional[Callable[[int, str], None]] = None,
        on_ping_overdue: Callable[[], None] = lambda: None,
    ) -> None:
        self.link = link
        self.ends: Dict[int, StreamEnd] = {}
        self.closed = False
        self.peer_timeout = PEER_TIMEOUT
        self.heard_at = self.moved_at = time.monotonic()  # anything; bytes of a stream
        self._loop = loop
        self._transport: Any = None
        self._on_message = on_message
        self._on_disconnect = on_disconnect
        self._on_open = on_open
        self._on_ping_overdue = on_ping_overdue
        self._out = b""
        self._watched = (False, False)
        self._flush_due = False
        self._pinged_at: Optional[float] = None  # unanswered
        self._cancel_check: Callable[[], None] = lambda: None

    @property
    def connected(self) -> bool:
        """Whether there is a transport."""
        return self.link.connected

    @property
    def ping_pending(self) -> bool:
        """Whether the peer has sent nothing since it was pinged."""
        return self._pinged_at is not None

    @property
    def ping_overdue(self) -> bool:
        """Whether the peer, asked for a sign of life, takes longer than usual."""
        if not self.connected or self._pinged_at is None:
            return False
        return time.monotonic() - self._pinged_at >= PING_TIMEOUT

    @property
    def idle(self) -> bool:
        """Whether the peer has ended all streams, and all it sent has been passed on."""
        return not any(end.expects_more for end in self.ends.values())

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be sent that more should wait where it comes from."""
        return self.link.queued_bytes >= CHUNK

    def resume(self, transport: Any, received: int) -> None:
        """Go on over a new transport, in place of one that may be there.

        Args:
            transport: What the bytes go over, past the handshake; see `transport`.
            received: The number of the last frame that the peer received.

        Raises:
            ProtocolError: The peer cannot have received that.
        """
        self.suspend()
        self.link.resume(received)
        self._transport = transport
        self.heard_at = time.monotonic()
        self._pinged_at = None
        pause = self.peer_timeout / CHECKS_PER_TIMEOUT
        self._cancel_check = self._loop.call_later(pause, self._check_peer)
        self._update_ends()
        self._schedule_flush()

    def suspend(self) -> None:
        """Close the transport; everything waits for the next one."""
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        self._cancel_check()
        transport.watch(self._loop, None, None)
        transport.close()
        self._out = b""
        self._watched = (False, False)
        for event in self.link.disconnect():
            self._handle(event)
        self._update_ends()

    def close(self) -> None:
        """Send what can be sent at once; close the transport and the ends of all streams."""
        self.closed = True
        self._flush()
        self.suspend()
        for end in tuple(self.ends.values()):
            end.close()

    def send(self, message: Any) -> None:
        """Send a control message, one of `messages`."""
        self.link.message(to_json(message))
        self._schedule_flush()

    def open(self, channel: str, end: StreamEnd) -> None:
        """Open a stream to a channel of the peer's, which ends here in `end`."""
        self.attach(self.link.open(channel), end)

    def attach(self, number: int, end: StreamEnd) -> None:
        """Have a stream that is open already end here in `end`."""
        self.ends[number] = end
        end.attach(self.link, number, self._schedule_flush, self._remove)
        self._schedule_flush()

    def receive_data(self, data: bytes) -> None:
        """Take bytes that were read from the transport."""
        self.heard_at = time.monotonic()
        self._pinged_at = None
        try:
            for event in self.link.receive_data(data):
                self._handle(event)
        except ProtocolError as error:
            self._lose_transport(error)
            return
        self._update_waiting()  # what was acknowledged has made room
        self._schedule_flush()

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        self.link.ping()
        self._pinged_at = self._pinged_at or time.monotonic()
        self._schedule_flush()

    def _remove(self, end: StreamEnd) -> None:
        self.ends.pop(end.number, None)

    def _update_ends(self) -> None:
        for end in tuple(self.ends.values()):
            end.update()

    def _update_waiting(self) -> None:
        for end in [end for end in self.ends.values() if end.waits_for_room]:
            end.update()

    # --- out ------------------------------------------------------------------------------------

    def _schedule_flush(self) -> None:
        """Send at the end of this turn of the loop, all frames of that turn together."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.defer(self._flush)

    def _flush(self) -> None:
        """Hand the transport what it takes, the most urgent first."""
        self._flush_due = False
        while self._transport is not None and (self._out or self._fill()):
            try:
                sent = self._transport.send(self._out)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._lose_transport(error)
                return
            self._out = self._out[sent:]
        self._watch()

    def _fill(self) -> bool:
        self._out = self.link.data_to_send()
        if self._out:
            self._update_waiting()
        return bool(self._out)

    # --- in -------------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        if self.closed:
            return  # by what an event before this one has led to
        if isinstance(event, Message):
            self._on_message(event.content)
        elif isinstance(event, Opened):
            assert self._on_open is not None
            self._on_open(event.stream, event.channel)
        elif not isinstance(event, Pong):
            self._handle_stream(event, self.ends.get(event.stream))

    def _handle_stream(self, event: Any, end: Optional[StreamEnd]) -> None:
        if isinstance(event, Data):
            self.moved_at = self.heard_at
        if end is None:
            return
        if isinstance(event, Data):
            end.receive_data(event.data)
        elif isinstance(event, Credit):
            end.update()
        elif isinstance(event, Ended):
            end.receive_end()
        elif isinstance(event, Reset):
            end.close()

    def _on_readable(self) -> None:
        try:
            data = self._transport.recv(RECEIVE_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose_transport(error)
            return
        if data:
            self.receive_data(data)
        else:
            self._lose_transport(ConnectionResetError("the other end closed the connection"))

    def _watch(self) -> None:
        if self._transport is None:
            return
        wanted = (self.link.queued_bytes < MAX_QUEUED, bool(self._out))
        if wanted != self._watched:
            self._watched = wanted
            on_read, on_write = self._on_readable, self._flush
            self._transport.watch(
                self._loop, on_read if wanted[0] else None, on_write if wanted[1] else None
            )

    # --- the transport --------------------------------------------------------------------------

    def _lose_transport(self, error: Exception) -> None:
        if self._transport is not None:
            self.suspend()
            if not self.closed:
                self._on_disconnect(error)

    def _check_peer(self) -> None:
        """Ping a peer that is silent, and after a time give it up."""
        now = time.monotonic()
        silent = now - self.heard_at
        pause = self.peer_timeout / CHECKS_PER_TIMEOUT
        if silent >= self.peer_timeout:
            self._lose_transport(TimeoutError("nothing was heard for %.0f s" % silent))
            return
        if silent < pause / 2:
            self.link.acknowledge()  # a peer with much to send receives little else from us
        else:
            pause = min(pause, PING_TIMEOUT, self.peer_timeout - silent)
            if self.ping_overdue:
                self._on_ping_overdue()
            self.ping()
        self._cancel_check = self._loop.call_later(pause, self._check_peer)
        self._schedule_flush()
