"""Contexts, as pyzmq has them."""

import os

from board_agent.zmtp.sockets import Context as _Context

from .. import constants as z
from .socket import OPTIONS, Socket
from ..error import ZMQError, not_there


class Context:
    """What sockets are made in."""

    _instance = None
    _instance_pid = None
    _socket_class = Socket

    def __init__(self, io_threads=1):
        self._context = _Context()
        self.sockopts = {}  # what each new socket is given
        self.closed = False

    def __class_getitem__(cls, item):
        return cls

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.destroy()

    @classmethod
    def instance(cls, io_threads=1):
        """Return the one that all may share."""
        if cls._instance is None or cls._instance.closed or cls._instance_pid != os.getpid():
            cls._instance, cls._instance_pid = cls(io_threads), os.getpid()
        return cls._instance

    @property
    def underlying(self):
        """Itself."""
        return self

    def socket(self, socket_type, socket_class=None, **kwargs):
        """Make a socket."""
        if self.closed:
            raise ZMQError(z.ENOTSUP)
        return (socket_class or self._socket_class)(
            self, socket_type, **{**self.sockopts, **kwargs}
        )

    def term(self):
        """End it, once all sockets are closed and have sent what they had."""
        self._context.terminate()
        self.closed = True

    def destroy(self, linger=None):
        """Close all sockets, and end it."""
        if self._context.ours:
            for core in list(self._context.cores):
                if linger is not None and not core.closed:
                    core.linger = linger
                core.close()
        self.term()

    def __getattr__(self, name):
        raise not_there("zmq.Context.%s" % name)

    def __setattr__(self, name, value):
        if name.lower() in OPTIONS:
            self.sockopts[name] = value
        else:
            object.__setattr__(self, name, value)
