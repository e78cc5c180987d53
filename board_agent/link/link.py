"""The link: byte streams and messages, numbered and acknowledged, over one connection at a time.

Sans-I/O: bytes and calls in, events and bytes out. docs/protocol.md describes every byte. Both ends
use this class; only the launcher opens streams. When a connection breaks, the link goes on over the
next one: it sends again what the peer has not acknowledged, so that everything arrives once and in
order. Video is the exception: the link sends a picture once or not at all, since an old one is
worth nothing.
"""

import enum
import struct
from collections import deque
from typing import Any, Deque, Dict, List, Tuple

from .compression import pack, unpack
from .events import Credit, Data, Ended, Event, Message, Opened, Pong, Reset
from .frames import (
    ACK,
    CREDIT,
    DATA,
    END,
    HEADER,
    MESSAGE,
    OPEN,
    PACKED,
    PING,
    PONG,
    RESET,
    VIDEO,
    ProtocolError,
    decode,
    encode,
    split,
)

CHUNK = 1 << 16  # the most one DATA frame carries: what an urgent frame may have to wait for
WINDOW = 1 << 19  # what one stream may have on its way without being consumed
ACK_EVERY = 1 << 17  # bytes received after which an acknowledgement is due, if nothing carried one
MAX_STREAMS = 1 << 12  # what a peer may have open at once
MAX_UNACKED = (
    5 << 17
)  # bytes sent and not acknowledged at which streams wait: a window and a little
MAX_UNACKED_URGENT = MAX_UNACKED + 2 * CHUNK  # the same for control and stdin
FRAME_OVERHEAD = 200  # bytes of memory that a frame takes besides its payload

PRECEDENCE = {"control": 0, "stdin": 1, "shell": 2, "iopub": 3, "files": 4, "video": 5}

_Frame = Tuple[int, int, int, bytes]  # number, kind, stream, payload


class StreamState(enum.Enum):
    """What an end of a stream has sent and received; see "Streams" in docs/protocol.md."""

    OPEN = "open"
    HALF_CLOSED = "half closed"  # we have ended
    PEER_ENDED = "peer ended"
    RESETTING = "resetting"  # we gave up, the peer has not answered
    OVER = "over"


class Step(enum.Enum):
    """What changes the state of a stream."""

    SEND_END = "sending END"
    RECEIVE_END = "receives END"
    SEND_RESET = "sending RESET"
    RECEIVE_RESET = "receives RESET"


TRANSITIONS = {
    (StreamState.OPEN, Step.SEND_END): StreamState.HALF_CLOSED,
    (StreamState.OPEN, Step.RECEIVE_END): StreamState.PEER_ENDED,
    (StreamState.OPEN, Step.SEND_RESET): StreamState.RESETTING,
    (StreamState.OPEN, Step.RECEIVE_RESET): StreamState.OVER,
    (StreamState.HALF_CLOSED, Step.RECEIVE_END): StreamState.OVER,
    (StreamState.HALF_CLOSED, Step.SEND_RESET): StreamState.RESETTING,
    (StreamState.HALF_CLOSED, Step.RECEIVE_RESET): StreamState.OVER,
    (StreamState.PEER_ENDED, Step.SEND_END): StreamState.OVER,
    (StreamState.PEER_ENDED, Step.SEND_RESET): StreamState.OVER,
    (StreamState.PEER_ENDED, Step.RECEIVE_RESET): StreamState.OVER,
    (StreamState.RESETTING, Step.RECEIVE_END): StreamState.OVER,
    (StreamState.RESETTING, Step.RECEIVE_RESET): StreamState.OVER,
}
_MAY_SEND = (StreamState.OPEN, StreamState.PEER_ENDED)
_MAY_RECEIVE = (StreamState.OPEN, StreamState.HALF_CLOSED)


class _Stream:
    """What the link knows of one stream."""

    __slots__ = ("credit", "granted", "precedence", "spent", "state", "unreliable")

    def __init__(self, channel: str) -> None:
        self.precedence = PRECEDENCE[channel]
        self.unreliable = channel == "video"  # its data is in frames without a number
        self.credit = WINDOW  # bytes we may still send
        self.granted = WINDOW  # bytes the peer may still send
        self.spent = 0  # bytes consumed here and not yet granted again
        self.state = StreamState.OPEN


class Link:
    """Hold the state of one end of a link.

    Calls queue frames; `data_to_send` gives them out as bytes, the most urgent first.
    `receive_data` turns the peer's bytes into events. `resume` goes on over a new connection.

    Args:
        accepts_streams: Whether the peer may open streams. Only the agent's end lets it.
    """

    def __init__(self, accepts_streams: bool = False) -> None:
        self._accepts_streams = accepts_streams
        self._streams: Dict[int, _Stream] = {}
        self._last_opened = 0
        self._queues: List[Deque[Any]] = [deque() for _ in PRECEDENCE]
        self._backlog = [0] * len(self._queues)
        self._buffer = bytearray()
        self._unacked_frames: Deque[_Frame] = deque()
        self._replay: Deque[_Frame] = deque()  # those of them to be sent again
        self._sent = 0
        self._received = 0
        self._acknowledged = 0  # by the peer
        self._unacknowledged = 0  # bytes received since our last acknowledgement
        self._pong_due = False  # a flag, not a queue: a peer that only pings costs no memory
        self.unacked_bytes = 0  # bytes of memory that is kept to be sent again
        self.connected = False

    @property
    def queued_bytes(self) -> int:
        """The bytes that wait for `data_to_send`."""
        return sum(self._backlog)

    @property
    def last_received(self) -> int:
        """The number of the last frame that came."""
        return self._received

    def resume(self, received: int) -> None:
        """Go on over a new connection: the first, or one after a break.

        Args:
            received: The number of the last frame that the peer received.

        Raises:
            ProtocolError: The peer cannot have received that.
        """
        self._check_acknowledged(received)
        self._buffer.clear()  # of a frame that was cut, which the peer sends again
        self._replay = deque(self._unacked_frames)
        self._drop_video()
        self._pong_due = False
        self._unacknowledged = 0  # the handshake has told the peer
        self.connected = True

    def disconnect(self) -> List[Event]:
        """Note that the connection is lost; return a `Reset` for each stream that ends with it."""
        self.connected = False
        lost = [number for number, stream in self._streams.items() if stream.unreliable]
        lost = [n for n in lost if self._streams[n].state is not StreamState.RESETTING]
        for number in lost:
            self.reset(number)
        return [Reset(number) for number in lost]

    # --- calls of this end ----------------------------------------------------------------------

    def message(self, content: Dict[str, Any]) -> None:
        """Send a JSON object on the control stream."""
        self._queue(0, MESSAGE, 0, encode(content))

    def open(self, channel: str) -> int:
        """Open a stream to `channel`, a key of PRECEDENCE, and return its number."""
        self._last_opened += 1
        self._streams[self._last_opened] = _Stream(channel)
        # Before everything, so that streams of any precedence are opened in order of their numbers.
        self._queue(0, OPEN, self._last_opened, channel.encode())
        return self._last_opened

    def credit(self, number: int) -> int:
        """Return how many bytes `send` takes on a stream now; 0 when it is over.

        Besides the peer's window, a stream waits while enough of its own precedence is queued here,
        or while enough of all streams is not acknowledged.
        """
        stream = self._streams.get(number)
        if (
            stream is None
            or stream.state not in _MAY_SEND
            or self._backlog[stream.precedence] >= CHUNK
        ):
            return 0
        if self.unacked_bytes >= (
            MAX_UNACKED if stream.precedence > PRECEDENCE["stdin"] else MAX_UNACKED_URGENT
        ):
            return 0
        return min(stream.credit, CHUNK)

    def send(self, number: int, data: bytes) -> None:
        """Send bytes on a stream: at least one, and no more than its `credit`.

        Raises:
            ValueError: The stream does not take so many now.
        """
        stream = self._streams[number]
        if stream.state not in _MAY_SEND or not 0 < len(data) <= min(stream.credit, CHUNK):
            raise ValueError("%d bytes cannot be sent on stream %d now" % (len(data), number))
        stream.credit -= len(data)
        packed = None if stream.unreliable else pack(data)
        if stream.unreliable:
            self._queue(stream.precedence, VIDEO, number, data)
        elif packed is None:
            self._queue(stream.precedence, DATA, number, data)
        else:
            self._queue(stream.precedence, PACKED, number, packed)

    def consumed(self, number: int, count: int) -> None:
        """Report that `count` bytes of a stream's data were passed on, so that more may come."""
        stream = self._streams.get(number)
        if stream is None or stream.state not in _MAY_RECEIVE:
            return
        stream.spent += count
        if stream.spent >= WINDOW // 4:
            stream.granted += stream.spent
            self._queue(0, CREDIT, number, struct.pack("!I", stream.spent))
            stream.spent = 0

    def end(self, number: int) -> bool:
        """Tell the peer that this end sends no more on a stream; return whether that is new."""
        stream = self._streams.get(number)
        if stream is None or stream.state not in _MAY_SEND:
            return False
        self._queue(stream.precedence, END, number)
        self._step(number, stream, Step.SEND_END)
        return True

    def reset(self, number: int) -> None:
        """Give a stream up in both directions; what is under way on it is lost."""
        stream = self._streams.get(number)
        if stream is None or stream.state is StreamState.RESETTING:
            return
        self._queue(stream.precedence, RESET, number)
        self._step(number, stream, Step.SEND_RESET)

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        self._queue(0, PING, 0)

    def acknowledge(self) -> None:
        """Tell the peer what has come, unless it knows."""
        if self._unacknowledged:
            self._queue(0, ACK, 0)

    # --- bytes out ------------------------------------------------------------------------------

    def data_to_send(self, limit: int = CHUNK) -> bytes:
        """Return bytes to send, in the order of precedence: whole frames.

        Frames get their numbers here, so that these follow the order on the wire. What is sent
        again comes before what is new.

        Args:
            limit: Bytes at which to stop; the last frame may pass it.
        """
        if self._pong_due:
            self._pong_due = False
            self._queue(0, PONG, 0)
        elif self._unacknowledged >= ACK_EVERY:
            self._queue(0, ACK, 0)
        if not (self._replay or any(self._queues)):
            return b""
        parts: List[bytes] = []
        size = self._data_to_replay(limit, parts)
        for rank, queue in enumerate(self._queues):
            while queue and size < limit:
                kind, stream, payload = queue.popleft()
                length = len(payload)
                self._backlog[rank] -= HEADER.size + length
                number = 0
                if kind <= PACKED:
                    self._sent = number = self._sent + 1
                    self._unacked_frames.append((number, kind, stream, payload))
                    self.unacked_bytes += FRAME_OVERHEAD + length
                parts.append(HEADER.pack(length, kind, stream, number, self._received))
                if length:
                    parts.append(payload)
                size += HEADER.size + length
        self._unacknowledged = 0
        return b"".join(parts)

    def _data_to_replay(self, limit: int, parts: List[bytes]) -> int:
        size = 0
        while self._replay and size < limit:
            number, kind, stream, payload = self._replay.popleft()
            parts.append(HEADER.pack(len(payload), kind, stream, number, self._received))
            parts.append(payload)
            size += HEADER.size + len(payload)
        return size

    def unacked_data(self, number: int) -> List[bytes]:
        """Return the data sent on a stream that the peer has not acknowledged; give the stream up.

        For a link that will not go on: the peer learns nothing of it. The stream may be over.
        """
        self._streams.pop(number, None)
        frames = [frame[1:] for frame in self._unacked_frames]
        frames += [frame for queue in self._queues for frame in queue]
        mine = [(kind, payload) for kind, stream, payload in frames if stream == number]
        return [
            payload if kind == DATA else unpack(payload, CHUNK)
            for kind, payload in mine
            if kind in (DATA, PACKED)
        ]

    def _drop_video(self) -> None:
        rank = PRECEDENCE["video"]
        queue, self._queues[rank] = self._queues[rank], deque()
        self._backlog[rank] = 0
        for kind, stream, payload in queue:
            if kind != VIDEO:
                self._queue(rank, kind, stream, payload)

    def _queue(self, rank: int, kind: int, stream: int, payload: bytes = b"") -> None:
        self._queues[rank].append((kind, stream, payload))
        self._backlog[rank] += HEADER.size + len(payload)

    # --- bytes in -------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> List[Event]:
        """Take bytes from the peer, cut anywhere, and return what they say.

        Raises:
            ProtocolError: They break the protocol; the link is of no use any more.
        """
        self._buffer += data
        self._unacknowledged += len(data)
        events: List[Event] = []
        for kind, stream, number, acknowledged, payload in split(self._buffer):
            self._check_numbers(kind, number, acknowledged)
            self._dispatch(kind, stream, payload, events)
        return events

    def _check_acknowledged(self, number: int) -> None:
        if not self._acknowledged <= number <= self._sent:
            raise ProtocolError("frame %d acknowledged, of %d" % (number, self._sent))
        self._acknowledged = number
        frames = self._unacked_frames
        while frames and frames[0][0] <= number:
            self.unacked_bytes -= FRAME_OVERHEAD + len(frames.popleft()[3])

    def _check_numbers(self, kind: int, number: int, acknowledged: int) -> None:
        self._check_acknowledged(acknowledged)
        expected = self._received + 1 if kind <= PACKED else 0
        if number != expected:
            raise ProtocolError("frame %d in place of %d" % (number, expected))
        if number:
            self._received = number
            self._unacknowledged += FRAME_OVERHEAD  # as the peer counts what it has to keep

    def _dispatch(self, kind: int, number: int, payload: bytes, events: List[Event]) -> None:
        if kind in (DATA, PACKED):
            stream = self._stream(number)
            if kind == PACKED:
                payload = _unpacked(payload)
            if stream.unreliable:
                raise ProtocolError("numbered data on stream %d" % number)
            self._receive_stream_data(number, stream, payload, events)
        elif kind == VIDEO:
            self._check_opened(number)
            if number in self._streams:  # else it crossed with our last frame of the stream
                stream = self._streams[number]
                if not stream.unreliable:
                    raise ProtocolError("data without a number on stream %d" % number)
                self._receive_stream_data(number, stream, payload, events)
        elif kind == CREDIT:
            self._credited(number, payload, events)
        elif kind == MESSAGE:
            events.append(Message(decode(payload)))
        elif kind == OPEN:
            events.append(self._opened(number, payload))
        elif kind == END:
            stream = self._stream(number)
            if (stream.state, Step.RECEIVE_END) not in TRANSITIONS:
                raise ProtocolError("stream %d ended twice" % number)
            if stream.state is not StreamState.RESETTING:
                events.append(Ended(number))
            self._step(number, stream, Step.RECEIVE_END)
        elif kind == RESET:
            self._reset_by_peer(number, events)
        elif kind == PING:
            self._pong_due = True
        elif kind == PONG:
            events.append(Pong())
        elif kind != ACK:
            raise ProtocolError("a frame of kind %d" % kind)

    def _receive_stream_data(
        self, number: int, stream: _Stream, payload: bytes, events: List[Event]
    ) -> None:
        if stream.state is StreamState.PEER_ENDED or not 0 < len(payload) <= min(
            stream.granted, CHUNK
        ):
            raise ProtocolError("%d bytes on stream %d" % (len(payload), number))
        stream.granted -= len(payload)
        if stream.state is not StreamState.RESETTING:
            events.append(Data(number, payload))

    def _stream(self, number: int) -> _Stream:
        try:
            return self._streams[number]
        except KeyError:
            raise ProtocolError("stream %d is not open" % number) from None

    def _check_opened(self, number: int) -> None:
        if not 0 < number <= self._last_opened:
            raise ProtocolError("stream %d was never opened" % number)

    def _reset_by_peer(self, number: int, events: List[Event]) -> None:
        self._check_opened(number)
        stream = self._streams.get(number)
        if stream is None:
            return  # it crossed with our own last frame of the stream
        if stream.state in _MAY_SEND:
            self._queue(stream.precedence, RESET, number)
        if stream.state is not StreamState.RESETTING:
            events.append(Reset(number))
        self._step(number, stream, Step.RECEIVE_RESET)

    def _opened(self, number: int, payload: bytes) -> Opened:
        channel = payload.decode("ascii", "replace")
        allowed = self._accepts_streams and len(self._streams) < MAX_STREAMS
        if number <= self._last_opened or channel not in PRECEDENCE or not allowed:
            raise ProtocolError("stream %d cannot be opened" % number)
        self._last_opened = number
        self._streams[number] = _Stream(channel)
        return Opened(number, channel)

    def _credited(self, number: int, payload: bytes, events: List[Event]) -> None:
        if len(payload) != 4:
            raise ProtocolError("a credit of %d bytes" % len(payload))
        self._check_opened(number)
        stream = self._streams.get(number)
        if (
            stream is not None and stream.state in _MAY_SEND
        ):  # it may cross with our end of the stream
            stream.credit += struct.unpack("!I", payload)[0]
            if stream.credit > WINDOW:
                raise ProtocolError("more credit for stream %d than its window" % number)
            events.append(Credit(number))

    def _step(self, number: int, stream: _Stream, step: Step) -> None:
        stream.state = TRANSITIONS[stream.state, step]
        if stream.state is StreamState.OVER:
            del self._streams[number]


def _unpacked(payload: bytes) -> bytes:
    try:
        return unpack(payload, CHUNK)
    except ValueError as error:
        raise ProtocolError("packed data: %s" % error) from None
