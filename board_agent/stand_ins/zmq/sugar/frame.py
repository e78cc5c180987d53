"""Parts of messages that are not copied. They never are here: bytes cannot change."""

from __future__ import annotations

from typing import Any

from ..error import not_there


class MessageTracker:
    """Says when what was sent may be changed: at once."""

    __slots__ = ()
    done = True

    def __init__(self, *towatch: Any) -> None:
        pass

    def wait(self, timeout: Any = -1) -> None:
        """Return at once."""


class Frame:
    """A part of a message."""

    __slots__ = ("bytes", "more", "tracker")

    def __init__(
        self, data: Any = b"", track: Any = False, copy: Any = None, copy_threshold: Any = None
    ) -> None:
        if isinstance(data, str):
            raise TypeError("Unicode strings are not allowed. Only: bytes")
        self.bytes = as_bytes(data)
        self.more = False
        self.tracker = MessageTracker() if track else None

    @property
    def buffer(self) -> Any:
        """The data as a memoryview."""
        return memoryview(self.bytes)

    def __len__(self) -> Any:
        return len(self.bytes)

    def __bytes__(self) -> Any:
        return self.bytes

    def __str__(self) -> Any:
        return self.bytes.decode()

    def __repr__(self) -> Any:
        return "<zmq.Frame(%r)>" % self.bytes[:12]

    def __eq__(self, other: Any) -> Any:
        return self.bytes == (other.bytes if isinstance(other, Frame) else other)

    def __hash__(self) -> int:
        return hash(self.bytes)

    def __getattr__(self, name: Any) -> None:
        raise not_there("zmq.Frame.%s" % name)


def as_bytes(part: Any) -> Any:
    """Return a part of a message as bytes. Raises TypeError."""
    if type(part) is bytes:
        return part
    if isinstance(part, Frame):
        return part.bytes
    if isinstance(part, str):
        raise TypeError("unicode not allowed, use send_string")
    return memoryview(part).tobytes()
