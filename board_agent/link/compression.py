"""Make large data smaller before it is sent, where a sample of it says that this pays.

On a small core, encrypting a byte for SSH costs about as much as compressing two or three, and on
WiFi sending one costs more than both. Images and the like are left as they are.
"""

import zlib
from typing import Optional

SMALLEST = 4096  # bytes below which it is not tried
SAMPLE = 2048  # bytes that are tried first
WORTHWHILE = 0.5  # what the sample has to shrink to
WINDOW_BITS = -12  # a window of 4 KB, without header and checksum: 48 KB of memory, not 256
MEMORY_LEVEL = 6


def pack(data: bytes) -> Optional[bytes]:
    """Return the data packed, or None where that is not worth it."""
    if len(data) < SMALLEST or len(_deflate(data[:SAMPLE])) > SAMPLE * WORTHWHILE:
        return None
    packed = _deflate(data)
    return packed if len(packed) < len(data) else None


def unpack(packed: bytes, limit: int) -> bytes:
    """Return what was packed.

    Args:
        packed: What `pack` returned.
        limit: The most bytes that it may unpack to.

    Raises:
        ValueError: It is damaged or larger.
    """
    inflate = zlib.decompressobj(WINDOW_BITS)
    try:
        data = inflate.decompress(packed, limit + 1)  # one more, to come past the end mark
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(data) > limit or not inflate.eof or inflate.unused_data:
        raise ValueError("damaged, or more than %d bytes" % limit)
    return data


def _deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(1, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL)
    return deflate.compress(data) + deflate.flush()
