"""Parts of messages that are not copied. They never are here: bytes cannot change."""

from __future__ import annotations

from typing import Any

from ..error import not_there


class MessageTracker:
    """Say when what was sent may be changed: at once."""

    __slots__ = ()
    done = True

    def __init__(self, *towatch: Any) -> None:
        pass

    def wait(self, timeout: Any = -1) -> None:
        """Return at once."""


class Frame(bytes):
    """A part of a message. It is bytes, since only these give a memoryview on any Python."""

    more = False
    tracker: Any = None

    def __new__(
        cls, data: Any = b"", track: Any = False, copy: Any = None, copy_threshold: Any = None
    ) -> Frame:
        """Copy the data."""
        if isinstance(data, str):
            raise TypeError("Unicode strings are not allowed. Only: bytes")
        frame = super().__new__(cls, data)
        if track:
            frame.tracker = MessageTracker()
        return frame

    @property
    def buffer(self) -> Any:
        """The data as a memoryview."""
        return memoryview(self)

    @property
    def bytes(self) -> Any:
        """The data as bytes and nothing more."""
        return self[:]

    def __str__(self) -> str:
        return self.decode()

    def __repr__(self) -> str:
        return "<zmq.Frame(%r)>" % self[:12]

    def __getattr__(self, name: Any) -> Any:
        raise not_there("zmq.Frame.%s" % name)


def as_bytes(part: Any) -> Any:
    """Return a part of a message as bytes.

    Raises:
        TypeError: It is text, or has no buffer.
    """
    if type(part) is bytes:
        return part
    if isinstance(part, Frame):
        return part.bytes
    if isinstance(part, str):
        raise TypeError("unicode not allowed, use send_string")
    return memoryview(part).tobytes()
