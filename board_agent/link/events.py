"""What a link tells its user of the peer."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Union


class Message(NamedTuple):
    """A JSON object came from the peer's control stream."""

    content: Dict[str, Any]


class Opened(NamedTuple):
    """The peer opened a stream to a channel."""

    stream: int
    channel: str


class Data(NamedTuple):
    """Bytes came on a stream; report them with `consumed` once they are passed on."""

    stream: int
    data: bytes


class Ended(NamedTuple):
    """The peer will send no more on a stream."""

    stream: int


class Reset(NamedTuple):
    """A stream is over in both directions."""

    stream: int


class Credit(NamedTuple):
    """The peer can take more on a stream."""

    stream: int


class Pong(NamedTuple):
    """The peer answered a ping."""


Event = Union[Message, Opened, Data, Ended, Reset, Credit, Pong]
