"""The pictures that a kernel shows, as they come over the link."""

from __future__ import annotations

import json
import logging
import socket
from typing import Any, NamedTuple

from board_agent.link.video_format import HEAD, JPEG, LONGEST, PNG

log = logging.getLogger(__name__)

MIMES = (JPEG, PNG)
IN_FLIGHT = 2  # pictures under way at most


class BadVideo(ValueError):
    """What came is no picture as kernels send them."""


class Frame(NamedTuple):
    """A picture that the kernel shows.

    `cell` is the msg_id of the request that runs, empty outside cells; `display` its display_id;
    `delay` the seconds that it took on the board, as the board says.
    """

    stream: str
    cell: str
    display: str
    mime: str
    width: int
    height: int
    delay: float
    data: bytes


class Decoder:
    """Turn the bytes of a video stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> list[Frame]:
        """Take bytes, cut anywhere; return the frames that are whole. Raises BadVideo."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= HEAD.size:
            length, facts, delay = HEAD.unpack_from(self._buffer)
            if length > LONGEST:
                raise BadVideo(f"a picture of {length} bytes")
            start = HEAD.size + facts
            if len(self._buffer) < start + length:
                break
            text, picture = self._buffer[HEAD.size : start], self._buffer[start : start + length]
            frames.append(_frame(bytes(text), delay / 1e6, bytes(picture)))
            del self._buffer[: start + length]
        return frames


def _frame(text: bytes, delay: float, data: bytes) -> Frame:
    try:
        facts: dict[str, Any] = dict(json.loads(text))
        frame = Frame(
            stream=str(facts["stream"]),
            cell=str(facts["cell"]),
            display=str(facts["display"]),
            mime=str(facts["mime"]),
            width=int(facts["width"]),
            height=int(facts["height"]),
            delay=delay,
            data=data,
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise BadVideo("a picture without its facts") from error
    if frame.mime not in MIMES:
        raise BadVideo("a picture of no known type")
    return frame


class Video:
    """The connection on which a kernel's pictures come.

    Parameters: sock; rate, pictures a second that are wanted of a stream.
    """

    def __init__(self, sock: socket.socket, rate: int) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._decoder = Decoder()
        self._owed = IN_FLIGHT
        self._say(bytes([rate]))

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._sock.fileno()

    def receive(self) -> list[Frame] | None:
        """Return the pictures that have come; None when no more will."""
        try:
            data = self._sock.recv(1 << 18)
            frames = self._decoder.receive(data)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            return None
        except BadVideo as error:
            log.warning("the board sent %s; its pictures are not shown any more", error)
            return None
        self._owed += len(frames)
        return frames if data else None

    def grant(self) -> None:
        """Ask for as many pictures as have come."""
        if self._owed:
            self._say(b"+" * self._owed)
            self._owed = 0

    def close(self) -> None:
        """Let the kernel go."""
        self._sock.close()

    def _say(self, data: bytes) -> None:
        try:
            self._sock.send(data)  # a few bytes, and no more of them than pictures under way
        except OSError:
            pass  # it is over, which receive finds out
