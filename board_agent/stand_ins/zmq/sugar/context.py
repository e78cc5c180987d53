"""Contexts, as pyzmq has them."""

from __future__ import annotations

import os
from typing import Any

from board_agent.zmtp.sockets import Context as _Context

from .. import constants as z
from ..error import ZMQError, not_there
from .socket import OPTIONS, Socket


class Context:
    """What sockets are made in."""

    _instance = None
    _instance_pid = None
    _socket_class = Socket

    def __init__(self, io_threads: Any = 1) -> None:
        self._context = _Context()
        self.sockopts: dict[str, Any] = {}  # what each new socket is given
        self.closed = False

    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: Any) -> None:
        self.destroy()

    @classmethod
    def instance(cls, io_threads: Any = 1) -> Any:
        """Return the context that all may share."""
        if cls._instance is None or cls._instance.closed or cls._instance_pid != os.getpid():
            cls._instance, cls._instance_pid = cls(io_threads), os.getpid()
        return cls._instance

    @property
    def underlying(self) -> Any:
        """The context itself."""
        return self

    def socket(self, socket_type: Any, socket_class: Any = None, **kwargs: Any) -> Any:
        """Make a socket; `kwargs` are its options."""
        if self.closed:
            raise ZMQError(z.ENOTSUP)
        return (socket_class or self._socket_class)(
            self, socket_type, **{**self.sockopts, **kwargs}
        )

    def term(self) -> None:
        """End the context, once all sockets are closed and have sent what they had."""
        self._context.terminate()
        self.closed = True

    def destroy(self, linger: Any = None) -> None:
        """Close all sockets, and end the context."""
        if self._context.ours:
            for core in list(self._context.cores):
                if linger is not None and not core.closed:
                    core.linger = linger
                core.close()
        self.term()

    def __getattr__(self, name: Any) -> None:
        raise not_there("zmq.Context.%s" % name)

    def __setattr__(self, name: Any, value: Any) -> None:
        if name.lower() in OPTIONS:
            self.sockopts[name] = value
        else:
            object.__setattr__(self, name, value)
