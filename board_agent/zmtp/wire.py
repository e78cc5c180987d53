"""ZMTP 3.0 with the NULL mechanism, without I/O: bytes in, messages out, and back.

Source: https://rfc.zeromq.org/spec/23/ (ZMTP 3.0); peers may speak 3.1
(https://rfc.zeromq.org/spec/37/), which adds PING and SUBSCRIBE commands.
"""

import struct
from typing import Iterable, List, Optional

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\3\0" + b"NULL".ljust(20, b"\0") + bytes(32)
MORE, LONG, COMMAND = 1, 2, 4  # a frame's flags
MAX_COMMAND = 1 << 16  # bytes
MAX_MESSAGE = 1 << 28  # bytes of a message; more than a board has
COST = 64  # bytes that a frame takes beside its content
SMALL = 4096  # bytes of a frame that is copied, to be sent with its neighbours
SUBSCRIBE, CANCEL = b"\1", b"\0"  # the first byte of a message that does so

_MAY_TALK = {
    b"PAIR": (b"PAIR",),
    b"PUB": (b"SUB", b"XSUB"),
    b"XPUB": (b"SUB", b"XSUB"),
    b"SUB": (b"PUB", b"XPUB"),
    b"PUSH": (b"PULL",),
    b"PULL": (b"PUSH",),
    b"DEALER": (b"DEALER", b"ROUTER", b"REP"),
    b"ROUTER": (b"DEALER", b"ROUTER", b"REQ"),
}


class ProtocolError(Exception):
    """The peer sent what none of ours may send."""


class Peer:
    """Who is at the other end: its type of socket, and the identity that it gave itself."""

    __slots__ = ("identity", "kind")

    def __init__(self, kind: bytes, identity: bytes) -> None:
        self.kind = kind
        self.identity = identity


class Wire:
    """One end of a connection.

    Args:
        kind: Our type of socket, such as b"ROUTER".
        identity: What the peer is to know us by.
        limit: Bytes of the longest message to accept.
    """

    __slots__ = (
        "_buffer",
        "_cost",
        "_frames",
        "_greeted",
        "_identity",
        "_kind",
        "_limit",
        "_out",
        "peer",
    )

    def __init__(self, kind: bytes, identity: bytes = b"", limit: int = MAX_MESSAGE) -> None:
        self.peer: Optional[Peer] = None  # once it has introduced itself
        self._kind = kind
        self._identity = identity
        self._limit = limit
        self._greeted = False
        self._buffer = bytearray()
        self._frames: List[bytes] = []  # of a message that is not whole
        self._cost = 0  # bytes that those take
        self._out = GREETING

    def data_to_send(self) -> bytes:
        """Return what has to be sent to the peer, besides messages."""
        out, self._out = self._out, b""
        return out

    def receive_data(self, data: bytes) -> List[List[bytes]]:
        """Take bytes from the peer.

        Returns:
            The messages that are whole now, each as its frames. A subscription has one frame, with
            SUBSCRIBE or CANCEL before the topic, whichever way the peer sent it.

        Raises:
            ProtocolError: They break the protocol; the connection is of no use any more.
        """
        buffer = self._buffer
        buffer += data
        messages: List[List[bytes]] = []
        start = 0 if self._greeted else self._greet()
        while self._greeted and len(buffer) - start >= 2:
            flags = buffer[start]
            if flags & LONG:
                if len(buffer) - start < 9:
                    break
                length, body = int.from_bytes(buffer[start + 1 : start + 9], "big"), start + 9
            else:
                length, body = buffer[start + 1], start + 2
            self._check(flags, length)
            if len(buffer) - body < length:
                break
            start = body + length
            content = bytes(memoryview(buffer)[body:start])
            if flags & COMMAND:
                self._handle_command(content, messages)
                continue
            self._frames.append(content)
            self._cost += length + COST
            if not flags & MORE:
                messages.append(self._frames)
                self._frames, self._cost = [], 0
        del buffer[:start]
        return messages

    def _greet(self) -> int:
        """Take the peer's greeting, if it is whole; return its length, else 0."""
        buffer = self._buffer
        if buffer[:1] not in (b"", GREETING[:1]) or (len(buffer) > 9 and not buffer[9] & 1):
            raise ProtocolError("this is not ZMTP")
        if len(buffer) > 10 and buffer[10] < 3:
            raise ProtocolError("ZMTP of before version 3")
        if len(buffer) < len(GREETING):
            return 0
        if buffer[12:32] != GREETING[12:32]:
            raise ProtocolError("another mechanism than NULL")
        self._greeted = True
        properties = {b"Socket-Type": self._kind}
        if self._kind in (b"DEALER", b"ROUTER"):
            properties[b"Identity"] = self._identity
        ready = b"\5READY"
        for name, value in properties.items():
            ready += struct.pack(">B%dsI" % len(name), len(name), name, len(value)) + value
        self._out += _command(ready)
        return len(GREETING)

    def _check(self, flags: int, length: int) -> None:
        """Refuse a frame by its header, before any of it is kept."""
        if flags > (MORE | LONG | COMMAND) or (flags & COMMAND and flags & MORE):
            raise ProtocolError("a frame with flags %#x" % flags)
        if flags & COMMAND:
            if length > MAX_COMMAND:
                raise ProtocolError("a command of %d bytes" % length)
        elif self.peer is None:
            raise ProtocolError("a message before READY")
        elif self._cost + length + COST > self._limit:
            raise ProtocolError("a message of more than %d bytes" % self._limit)

    def _handle_command(self, content: bytes, messages: List[List[bytes]]) -> None:
        end = 1 + content[0] if content else 1
        name, rest = content[1:end], content[end:]
        if self.peer is None:
            if name == b"ERROR":
                raise ProtocolError("the peer refused us: %r" % rest[1:])
            if name != b"READY":
                raise ProtocolError("%r in place of READY" % name)
            self.peer = self._on_ready(rest)
        elif name == b"PING":
            self._pong(rest)
        elif name == b"SUBSCRIBE":
            messages.append([SUBSCRIBE + rest])
        elif name == b"CANCEL":
            messages.append([CANCEL + rest])
        elif name == b"ERROR":
            raise ProtocolError("the peer gave up: %r" % rest[1:])
        # others are for who understands them

    def _pong(self, rest: bytes) -> None:
        """Answer a PING, which has a time to live and up to 16 bytes that we have to repeat."""
        if not 2 <= len(rest) <= 18:
            raise ProtocolError("a PING of %d bytes" % len(rest))
        if len(self._out) < MAX_COMMAND:  # else the peer does not read what we answer
            self._out += _command(b"\4PONG" + rest[2:])

    def _on_ready(self, rest: bytes) -> Peer:
        """Return who the peer is, by the properties of its READY."""
        properties = {}
        while rest:
            name_end = 1 + rest[0]
            value_end = name_end + 4 + int.from_bytes(rest[name_end : name_end + 4], "big")
            if len(rest) < max(value_end, name_end + 4):
                raise ProtocolError("a READY that ends too early")
            properties[rest[1:name_end].lower()] = rest[name_end + 4 : value_end]
            rest = rest[value_end:]
        kind, identity = properties.get(b"socket-type", b""), properties.get(b"identity", b"")
        if kind not in _MAY_TALK[self._kind]:
            raise ProtocolError("a %r socket where %r listens" % (kind, self._kind))
        if len(identity) > 255 or identity[:1] == b"\0":
            raise ProtocolError("an identity that none may have")
        return Peer(kind, identity)


def encode(frames: Iterable[bytes]) -> List[bytes]:
    """Return a message as it is sent, in parts; the large ones are not copied."""
    parts: List[bytes] = []
    small = bytearray()
    frames = tuple(frames)
    more = len(frames)
    for frame in frames:
        more -= 1
        length = len(frame)
        if length < 256:
            small += bytes((MORE if more else 0, length))
        else:
            small += struct.pack(">BQ", LONG | (MORE if more else 0), length)
        if length <= SMALL:
            small += frame
        else:
            parts += (bytes(small), frame)
            small.clear()
    if small:
        parts.append(bytes(small))
    return parts


def _command(content: bytes) -> bytes:
    if len(content) < 256:
        return struct.pack(">BB", COMMAND, len(content)) + content
    return struct.pack(">BQ", COMMAND | LONG, len(content)) + content
