"""The packets of rpyc, in the two dialects that boards speak.

Up to rpyc 5.3 a packet is brine of (kind, number, content); from 6.0 it is one byte, the kind, and
then brine of (number, content). The first byte tells which: in the old dialect it is the tag of a
triple. Both travel in the same frame: length, compressed or not, packet, line feed.

We treat everything that we receive as hostile. We check sizes before we allocate memory, and the
only objects that decoding can make are brine's immutable ones. Source: rpyc/core/{brine,channel,
protocol}.py of 4.1.5, 5.0.1, 5.3.1 and 6.0.2.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rpyc.core import brine

HEADER = struct.Struct("!LB")
TRAILER = b"\n"
MAX_BYTES = 64 << 20  # of a packet, as it comes and unpacked
_MAX_READS = 100_000  # A reply of ours needs a dozen; a board's exception some hundreds.


class Malformed(ValueError):
    """What came is not a packet of rpyc."""


class Dialect(Enum):
    """How a packet begins, by the versions of rpyc."""

    UP_TO_5 = "rpyc 5 or older"
    FROM_6 = "rpyc 6 or newer"


@dataclass(frozen=True)
class Packet:
    """One message.

    Attributes:
        dialect: How it begins.
        kind: A constant of rpyc's: MSG_REQUEST, MSG_REPLY or MSG_EXCEPTION.
        number: That of the request to which it belongs.
        content: What it says, in brine's immutable objects.
    """

    dialect: Dialect
    kind: int
    number: int
    content: Any


def encode(packet: Packet) -> bytes:
    """Make the bytes of a packet, frame included.

    Args:
        packet: Its content consists of None, bool, int, float, str, bytes and tuples.

    Returns:
        The bytes, uncompressed, since not every board's Python has zlib.

    Raises:
        TypeError: The content has another object in it.
    """
    body: bytes
    if packet.dialect is Dialect.UP_TO_5:
        body = brine.dump((packet.kind, packet.number, packet.content))
    else:
        body = bytes([packet.kind]) + brine.dump((packet.number, packet.content))
    return HEADER.pack(len(body), 0) + body + TRAILER


def body_size(header: bytes) -> int:
    """Return how many bytes follow a frame's header, the trailer included.

    Args:
        header: `HEADER.size` bytes.

    Returns:
        A number of bytes, at most `MAX_BYTES` + 1.

    Raises:
        Malformed: The frame would be larger, or this is not a header.
    """
    size, compressed = HEADER.unpack(header)
    if size > MAX_BYTES:
        raise Malformed(f"a packet of {size} bytes")
    if not size or compressed > 1:
        raise Malformed(f"a header of {header.hex()}")
    return int(size) + len(TRAILER)


def decode(header: bytes, body: bytes) -> Packet:
    """Read the packet in a frame.

    Args:
        header: `HEADER.size` bytes.
        body: What follows, with its trailer.

    Raises:
        Malformed: This is not a packet, or it unpacks to more than `MAX_BYTES` or to too many
            objects.
    """
    data = body[: -len(TRAILER)]
    if not body.endswith(TRAILER):
        raise Malformed("a packet without its end")
    if header[-1]:
        data = _inflate(data)
    if data.startswith(brine.TAG_TUP3):
        dialect, parts = Dialect.UP_TO_5, _load(data, 3)
    elif data[:1] in (b"\x01", b"\x02", b"\x03"):
        dialect, parts = Dialect.FROM_6, (data[0], *_load(data[1:], 2))
    else:
        raise Malformed(f"a packet that begins with {data[:8].hex()}")
    kind, number, content = parts
    if type(kind) is not int or type(number) is not int:
        raise Malformed("a packet without a number")
    return Packet(dialect, kind, number, content)


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, MAX_BYTES + 1)
    except zlib.error as error:
        raise Malformed(f"a compressed packet that is broken ({error})") from error
    if len(plain) > MAX_BYTES:
        raise Malformed(f"a packet that unpacks to more than {MAX_BYTES} bytes")
    if not inflater.eof:
        raise Malformed("a compressed packet that is cut short")
    return plain


class _Rationed(io.BytesIO):
    """Bytes for brine; they end its work on a packet that consists of millions of tiny objects."""

    left = _MAX_READS

    def read(self, count: int | None = -1, /) -> bytes:
        self.left -= 1
        data = super().read(count)
        if self.left < 0 or len(data) != count:
            raise Malformed("a packet that is cut short or has too many parts")
        return data


def _load(data: bytes, parts: int) -> tuple[Any, ...]:
    try:
        value = brine._load(_Rationed(data))
    except Malformed:
        raise
    except Exception as error:  # Garbage makes brine raise nearly anything.
        raise Malformed(f"a packet that is no brine ({type(error).__name__})") from error
    if type(value) is not tuple or len(value) != parts:
        raise Malformed(f"a packet that is no tuple of {parts}")
    return value
