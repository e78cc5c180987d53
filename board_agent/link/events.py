"""What a link tells its user of the peer."""

from typing import Any, Dict, NamedTuple, Union


class Message(NamedTuple("Message", [("content", Dict[str, Any])])):
    """A JSON object came from the peer's control stream."""

    __slots__ = ()


class Opened(NamedTuple("Opened", [("stream", int), ("channel", str)])):
    """The peer opened a stream to a channel."""

    __slots__ = ()


class Data(NamedTuple("Data", [("stream", int), ("data", bytes)])):
    """Bytes came on a stream; report them with `consumed` once they are passed on."""

    __slots__ = ()


class Ended(NamedTuple("Ended", [("stream", int)])):
    """The peer will send no more on a stream."""

    __slots__ = ()


class Reset(NamedTuple("Reset", [("stream", int)])):
    """A stream is over in both directions."""

    __slots__ = ()


class Credit(NamedTuple("Credit", [("stream", int)])):
    """The peer can take more on a stream."""

    __slots__ = ()


class Pong(NamedTuple("Pong", [])):
    """The peer answered a ping."""

    __slots__ = ()


Event = Union[Message, Opened, Data, Ended, Reset, Credit, Pong]
