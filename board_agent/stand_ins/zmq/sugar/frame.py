"""Parts of messages that are not copied. They never are here: bytes cannot change."""

from ..error import not_there


class MessageTracker:
    """Says when what was sent may be changed: at once."""

    __slots__ = ()
    done = True

    def __init__(self, *towatch):
        pass

    def wait(self, timeout=-1):
        """Return at once."""


class Frame:
    """A part of a message."""

    __slots__ = ("bytes", "more", "tracker")

    def __init__(self, data=b"", track=False, copy=None, copy_threshold=None):
        if isinstance(data, str):
            raise TypeError("Unicode strings are not allowed. Only: bytes")
        self.bytes = as_bytes(data)
        self.more = False
        self.tracker = MessageTracker() if track else None

    @property
    def buffer(self):
        """The data as a memoryview."""
        return memoryview(self.bytes)

    def __len__(self):
        return len(self.bytes)

    def __bytes__(self):
        return self.bytes

    def __str__(self):
        return self.bytes.decode()

    def __repr__(self):
        return "<zmq.Frame(%r)>" % self.bytes[:12]

    def __eq__(self, other):
        return self.bytes == (other.bytes if isinstance(other, Frame) else other)

    __hash__ = None

    def __getattr__(self, name):
        raise not_there("zmq.Frame.%s" % name)


def as_bytes(part):
    """Return a part of a message as bytes. Raises TypeError."""
    if type(part) is bytes:
        return part
    if isinstance(part, Frame):
        return part.bytes
    if isinstance(part, str):
        raise TypeError("unicode not allowed, use send_string")
    return memoryview(part).tobytes()
