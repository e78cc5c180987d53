"""The pictures that a kernel shows, as they come over the link."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from board_agent.link.video_format import HEAD, JPEG, LONGEST, PNG

from ..buffered_end import BufferedEnd

log = logging.getLogger(__name__)

MIMES = (JPEG, PNG)
IN_FLIGHT = 2  # pictures on the way from the board, at most


class BadVideo(ValueError):
    """What came is not a picture as kernels send them."""


class Frame(NamedTuple):
    """A picture that the kernel shows.

    Attributes:
        stream: The name of the stream of pictures to which it belongs.
        cell: The msg_id of the request that runs; empty outside cells.
        display: Its display_id.
        mime: "image/jpeg" or "image/png".
        width: In pixels.
        height: In pixels.
        delay: The seconds that it took on the board, as the board says.
        data: The JPEG or PNG file.
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

    def receive_data(self, data: bytes) -> list[Frame]:
        """Return the frames that are whole now.

        Args:
            data: The next bytes of the stream, cut anywhere.

        Raises:
            BadVideo: What came is not a picture as kernels send them.
        """
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


class VideoStream(BufferedEnd):
    """The stream on which a kernel's pictures come, until the link breaks.

    Args:
        rate: How many pictures a second to ask for of each of the kernel's streams.

    Attributes:
        on_frames: Called with the frames that have come.
    """

    def __init__(self, rate: int) -> None:
        self.on_frames: Callable[[list[Frame]], None] = lambda frames: None
        self._decoder = Decoder()
        super().__init__(bytes([rate]))
        self._owed = IN_FLIGHT

    def receive_data(self, data: bytes) -> None:
        """Pass on the pictures that are whole now.

        Args:
            data: The next bytes of the stream, cut anywhere.
        """
        self.link.consumed(self.number, len(data))
        try:
            frames = self._decoder.receive_data(data)
        except BadVideo as error:
            log.warning("the board sent %s; we show its pictures no more", error)
            self.link.reset(self.number)
            self.close()
            return
        if frames:
            self._owed += len(frames)
            self.on_frames(frames)

    def grant(self) -> None:
        """Ask for as many pictures as have come."""
        self._out += b"+" * self._owed
        self._owed = 0
        self.update()
