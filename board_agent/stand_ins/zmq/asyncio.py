"""What those who import zmq.asyncio look for; a kernel makes none of it."""

from __future__ import annotations

from typing import Any

from . import Context as _Context
from . import Poller as _Poller
from . import Socket as _Socket
from .error import not_there


class Socket(_Socket):
    """A socket whose methods are coroutines."""

    __slots__ = ()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise not_there("zmq.asyncio.Socket")


class Context(_Context):
    """A context that makes such sockets."""

    def __init__(self, *arguments: Any) -> None:
        raise not_there("zmq.asyncio.Context")


class Poller(_Poller):
    """A poller of such sockets."""

    def __init__(self) -> None:
        raise not_there("zmq.asyncio.Poller")


def __getattr__(name: Any) -> None:
    raise not_there("zmq.asyncio.%s" % name)
