"""Sockets, as pyzmq has them."""

from __future__ import annotations

import json
import os
import random
from typing import Any

from board_agent.zmtp.sockets import Core

from .. import constants as z
from ..error import ZMQBindError, ZMQError, not_there, translated
from .frame import Frame, MessageTracker, as_bytes

KINDS = {
    getattr(z, name): name
    for name in ("PAIR", "PUB", "SUB", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "STREAM")
}
OF_SOCKET = {
    z.LINGER: "linger",
    z.SNDHWM: "sndhwm",
    z.RCVHWM: "rcvhwm",
    z.SNDTIMEO: "sndtimeo",
    z.RCVTIMEO: "rcvtimeo",
    z.RECONNECT_IVL: "reconnect_ivl",
    z.MAXMSGSIZE: "maxmsgsize",
    z.IDENTITY: "identity",
    z.LAST_ENDPOINT: "last_endpoint",
}
OF_PATTERN = {
    z.ROUTER_HANDOVER: "handover",
    z.ROUTER_MANDATORY: "mandatory",
    z.XPUB_VERBOSE: "verbose",
    z.XPUB_NODROP: "nodrop",
}
OPTIONS = {
    name: getattr(z, name.upper())
    for name in (*OF_SOCKET.values(), "type", "fd", "events", "rcvmore", "routing_id", "hwm")
}
OPTIONS.update(
    (name.lower(), getattr(z, name))
    for name in ("ROUTER_HANDOVER", "ROUTER_MANDATORY", "XPUB_VERBOSE", "XPUB_NODROP")
)


class _Bound:
    """What `bind` and `connect` return, for use in a with-statement."""

    __slots__ = ("_end",)

    def __init__(self, end: Any) -> None:
        self._end = end

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: Any) -> None:
        raise not_there("zmq.Socket.%s" % self._end)


class Socket:
    """A socket of a context, with options by their names. Its errors are ZMQErrors."""

    __slots__ = ("__weakref__", "_context", "_core", "_parts", "_rest", "_type")

    def __init__(self, context: Any, socket_type: Any, **options: Any) -> None:
        name = KINDS.get(socket_type)
        if name is None:
            raise not_there("a socket of type %s" % (socket_type,))
        self._context = context
        self._type = socket_type
        self._parts: list[bytes] = []  # of a message that is being sent
        self._rest: list[bytes] = []  # of a message that is being received
        try:
            self._core = Core(context._context, name.encode())
        except OSError as error:
            raise translated(error) from None
        for option, value in options.items():
            setattr(self, option, value)

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None and not core.closed and core.context.ours:
            core.reactor.forget(core)  # the lock may be taken

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __repr__(self) -> Any:
        return "<zmq.Socket(zmq.%s) at %#x>" % (KINDS[self._type], id(self))

    @classmethod
    def shadow(cls, socket: Any) -> Any:
        """Return a socket as it is, since there is only one kind."""
        return socket

    @property
    def context(self) -> Any:
        """The context that it was made in."""
        return self._context

    @property
    def socket_type(self) -> Any:
        """ROUTER and the like."""
        return self._type

    @property
    def underlying(self) -> Any:
        """The socket itself."""
        return self

    @property
    def closed(self) -> Any:
        """Whether it was closed."""
        return self._core.closed

    def close(self, linger: Any = None) -> None:
        """Close the socket; it sends what it has for `linger` milliseconds, or as LINGER says."""
        if linger is not None:
            self._core.linger = linger
        self._core.close()

    def fileno(self) -> Any:
        """Return the descriptor that says when to ask for EVENTS."""
        return self.getsockopt(z.FD)

    # --- options --------------------------------------------------------------------------------

    def getsockopt(self, option: Any) -> Any:
        """Return the value of an option."""
        if option == z.TYPE:
            return self._type
        if option == z.RCVMORE:
            return int(bool(self._rest))
        core = self._core
        if core.closed:
            raise ZMQError(z.ENOTSOCK)
        if option == z.FD:
            return core.fileno()
        if option in OF_SOCKET:
            return getattr(core, OF_SOCKET[option])
        if option in OF_PATTERN and hasattr(core.pattern, OF_PATTERN[option]):
            return int(getattr(core.pattern, OF_PATTERN[option]))
        if option == z.EVENTS:
            return self._try(core.events) | (z.POLLIN if self._rest else 0)
        raise not_there("option %s of a %s socket" % (option, KINDS[self._type]))

    def setsockopt(self, option: Any, value: Any) -> None:
        """Set an option.

        Raises:
            TypeError: The value has another type than the option.
        """
        core = self._core
        if core.closed:
            raise ZMQError(z.ENOTSOCK)
        if option in (z.SUBSCRIBE, z.UNSUBSCRIBE):
            topic = value.encode() if isinstance(value, str) else value
            self._try(core.subscribe, topic, option == z.SUBSCRIBE)
        elif option in OF_PATTERN and hasattr(core.pattern, OF_PATTERN[option]):
            setattr(core.pattern, OF_PATTERN[option], bool(value))
        elif option in OF_SOCKET and option != z.LAST_ENDPOINT:
            if not isinstance(value, type(getattr(core, OF_SOCKET[option]))):
                raise TypeError("%r is no value for option %s" % (value, option))
            setattr(core, OF_SOCKET[option], value)
        else:
            raise not_there("option %s of a %s socket" % (option, KINDS[self._type]))

    get, set = getsockopt, setsockopt

    def getsockopt_string(self, option: Any, encoding: Any = "utf-8") -> Any:
        """Return the value of an option as text."""
        return self.getsockopt(option).decode(encoding)

    def setsockopt_string(self, option: Any, value: Any, encoding: Any = "utf-8") -> None:
        """Set an option to text."""
        self.setsockopt(option, value.encode(encoding))

    get_string = getsockopt_unicode = getsockopt_string
    set_string = setsockopt_unicode = setsockopt_string

    def subscribe(self, topic: Any) -> None:
        """Receive what begins with a topic."""
        self.setsockopt(z.SUBSCRIBE, topic)

    def unsubscribe(self, topic: Any) -> None:
        """Receive what begins with a topic no more."""
        self.setsockopt(z.UNSUBSCRIBE, topic)

    def get_hwm(self) -> Any:
        """Return how many messages may wait to be sent."""
        return self.getsockopt(z.SNDHWM)

    def set_hwm(self, value: Any) -> None:
        """Set how many messages may wait, both ways."""
        self.setsockopt(z.SNDHWM, value)
        self.setsockopt(z.RCVHWM, value)

    def __getattr__(self, name: Any) -> Any:
        option = OPTIONS.get(name.lower())
        if name.startswith("_") or option is None:
            raise not_there("zmq.Socket.%s" % name)
        return self.get_hwm() if option == z.HWM else self.getsockopt(option)

    def __setattr__(self, name: Any, value: Any) -> None:
        option = OPTIONS.get(name.lower())
        if name in Socket.__slots__:
            object.__setattr__(self, name, value)
        elif option is None:
            raise not_there("zmq.Socket.%s" % name)
        elif option == z.HWM:
            self.set_hwm(value)
        else:
            self.setsockopt(option, value)

    # --- endpoints ------------------------------------------------------------------------------

    def _usable(self) -> Any:
        if self._type == z.STREAM:  # a kernel makes one for its debugger, and may never use it
            raise not_there("what a STREAM socket does")
        return self._core

    def _try(self, action: Any, *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except OSError as error:
            raise translated(error) from None

    def bind(self, addr: Any) -> Any:
        """Listen at an endpoint.

        Raises:
            NotImplementedError: Its transport is not here.
        """
        self._try(self._usable().bind, _text(addr))
        return _Bound("unbind")

    def bind_to_random_port(
        self, addr: Any, min_port: Any = 49152, max_port: Any = 65536, max_tries: Any = 100
    ) -> Any:
        """Listen at a port of `addr` that is free, and return it.

        Raises:
            ZMQBindError: None was free, of those tried.
        """
        if (min_port, max_port) == (49152, 65536):
            self.bind(addr + ":*")
            return int(self._core.last_endpoint.rpartition(b":")[2])
        for _ in range(max_tries):
            port = random.randrange(min_port, max_port)
            try:
                self.bind("%s:%d" % (addr, port))
            except ZMQError as error:
                if error.errno != z.EADDRINUSE:
                    raise
            else:
                return port
        raise ZMQBindError("Could not bind socket to random port.")

    def connect(self, addr: Any) -> Any:
        """Connect to an endpoint, as soon as somebody listens there.

        Raises:
            NotImplementedError: Its transport is not here.
        """
        self._try(self._usable().connect, _text(addr))
        return _Bound("disconnect")

    # --- messages -------------------------------------------------------------------------------

    def send(
        self,
        data: Any,
        flags: Any = 0,
        copy: Any = True,
        track: Any = False,
        routing_id: Any = None,
        group: Any = None,
    ) -> Any:
        """Send a message, or with SNDMORE a part of one.

        Raises:
            Again: It would have to wait, with NOBLOCK or for longer than SNDTIMEO.
        """
        if routing_id is not None or group is not None:
            raise not_there("a message's routing_id or group")
        part = as_bytes(data)
        self._parts.append(part)
        if not flags & z.SNDMORE:
            parts, self._parts = self._parts, []
            self._try(self._core.send, parts, not flags & z.NOBLOCK)
        return MessageTracker() if track and not copy else None

    def send_multipart(
        self, msg_parts: Any, flags: Any = 0, copy: Any = True, track: Any = False, **kwargs: Any
    ) -> Any:
        """Send the parts of a message; raise as `send` does."""
        parts = [as_bytes(part) for part in msg_parts]
        if self._parts or flags & z.SNDMORE:
            self._parts += parts
            if flags & z.SNDMORE:
                return None
            parts, self._parts = self._parts, []
        if parts:
            self._try(self._core.send, parts, not flags & z.NOBLOCK)
        return MessageTracker() if track and not copy else None

    def recv(self, flags: Any = 0, copy: Any = True, track: Any = False) -> Any:
        """Receive a message, or the next part of one.

        Raises:
            Again: None has come, with NOBLOCK or within RCVTIMEO.
        """
        if not self._rest:
            self._rest = self._receive(flags)
        part = self._rest.pop(0)
        return part if copy else _frame(part, track, bool(self._rest))

    def recv_multipart(self, flags: Any = 0, copy: Any = True, track: Any = False) -> Any:
        """Receive the parts of a message; raise as `recv` does."""
        if self._rest:
            parts, self._rest = self._rest, []
        else:
            parts = self._receive(flags)
        if copy:
            return parts
        last = len(parts) - 1
        return [_frame(part, track, i < last) for i, part in enumerate(parts)]

    def _receive(self, flags: Any) -> Any:
        return self._try(self._core.receive, not flags & z.NOBLOCK)

    def poll(self, timeout: Any = None, flags: Any = z.POLLIN) -> Any:
        """Return which of some events hold, after `timeout` milliseconds at most."""
        if self._rest and flags & z.POLLIN:
            return z.POLLIN
        return self._try(self._core.poll, -1 if timeout is None else timeout, flags)

    def send_string(
        self, u: Any, flags: Any = 0, copy: Any = True, encoding: Any = "utf-8", **kwargs: Any
    ) -> Any:
        """Send text."""
        return self.send(u.encode(encoding), flags, copy, **kwargs)

    def recv_string(self, flags: Any = 0, encoding: Any = "utf-8") -> Any:
        """Receive text."""
        return self.recv(flags).decode(encoding)

    send_unicode, recv_unicode = send_string, recv_string

    def send_json(self, obj: Any, flags: Any = 0, **kwargs: Any) -> Any:
        """Send an object as JSON."""
        return self.send(json.dumps(obj, **kwargs).encode(), flags)

    def recv_json(self, flags: Any = 0, **kwargs: Any) -> Any:
        """Receive an object as JSON."""
        return json.loads(self.recv(flags), **kwargs)


def _frame(part: Any, track: Any, more: Any) -> Any:
    frame = Frame(part, track=track)
    if more:
        frame.more = True
    return frame


def _text(endpoint: Any) -> Any:
    return endpoint if isinstance(endpoint, str) else os.fsdecode(endpoint)
