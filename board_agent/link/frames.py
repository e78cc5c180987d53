"""The frames of a link: their headers, their kinds, and the messages in some of them."""

import json
import struct
from typing import Any, Dict, Iterator, Tuple

HEADER = struct.Struct("!IBIQQ")  # payload length, kind, stream, sequence number, acknowledged
MAX_PAYLOAD = 1 << 20

# Frame kinds. Those up to PACKED are numbered: they change state, and must arrive exactly once.
MESSAGE, OPEN, DATA, END, RESET, CREDIT, PACKED, ACK, PING, PONG, VIDEO = range(11)


class ProtocolError(Exception):
    """The peer broke the protocol; the link cannot go on."""


def split(buffer: bytearray) -> Iterator[Tuple[int, int, int, int, bytes]]:
    """Take the whole frames off a buffer.

    Yields:
        Of each: kind, stream, number, the number it acknowledges, payload.

    Raises:
        ProtocolError: A frame is longer than MAX_PAYLOAD.
    """
    start = 0
    while len(buffer) - start >= HEADER.size:
        length, kind, stream, number, acknowledged = HEADER.unpack_from(buffer, start)
        if length > MAX_PAYLOAD:
            raise ProtocolError("a frame of %d bytes" % length)
        stop = start + HEADER.size + length
        if stop > len(buffer):
            break
        payload = bytes(buffer[start + HEADER.size : stop])
        start = stop
        yield kind, stream, number, acknowledged, payload
    del buffer[:start]


def encode(content: Dict[str, Any]) -> bytes:
    """Return a JSON object as the payload of a MESSAGE.

    Raises:
        ValueError: It is longer than MAX_PAYLOAD.
    """
    payload = json.dumps(content, separators=(",", ":")).encode()
    if len(payload) > MAX_PAYLOAD:
        raise ValueError("a message of %d bytes is too long" % len(payload))
    return payload


def decode(payload: bytes) -> Dict[str, Any]:
    """Return the JSON object that the payload of a MESSAGE is.

    Raises:
        ProtocolError: It is no JSON object.
    """
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        raise ProtocolError("a message that is not JSON") from None
    if not isinstance(content, dict):
        raise ProtocolError("a message that is no object")
    return content
