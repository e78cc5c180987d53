"""How live pictures travel on a stream to `video`.

Each picture is the lengths of its data and of its facts and its delay (`HEAD`), then the facts as
JSON, then the data. The viewer's first byte says how many pictures a second it wants of a stream;
every byte that follows grants one. See "The contents of a video stream" in docs/protocol.md.
"""

import functools
import json
import struct

JPEG, PNG = "image/jpeg", "image/png"
HEAD = struct.Struct("!IHI")  # bytes of data, bytes of facts, microseconds since it was shown
LONGEST_DELAY = (1 << 32) - 1  # microseconds
LONGEST = 1 << 24  # bytes of data
# Begin the topics of a stream's first and last picture in a cell; its display follows.
FIRST, LAST = b"video.first.", b"video.last."


def head(size: int, delay: float, facts: bytes) -> bytes:
    """Return what goes before a picture's data.

    Args:
        size: Bytes of the data.
        delay: Seconds since the picture was shown.
        facts: What `facts` returned.
    """
    return HEAD.pack(size, len(facts), min(int(delay * 1e6), LONGEST_DELAY)) + facts


@functools.lru_cache(maxsize=16)  # they are those of the picture before
def facts(stream: str, cell: str, display: str, mime: str, width: int, height: int) -> bytes:
    """Return what a viewer needs to know of a picture, as JSON.

    Args:
        stream: The user's name for the stream.
        cell: The msg_id of the request that ran; empty if the picture is not for the notebook.
        display: Its display_id.
        mime: JPEG or PNG.
        width: Pixels.
        height: Pixels.
    """
    metadata = {
        "stream": stream,
        "cell": cell,
        "display": display,
        "mime": mime,
        "width": width,
        "height": height,
    }
    return json.dumps(metadata, separators=(",", ":")).encode()
