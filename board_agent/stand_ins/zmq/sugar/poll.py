"""Waiting for several sockets at once."""

from __future__ import annotations

import select as _select
import time
from typing import Any

from ..constants import POLLERR, POLLIN, POLLOUT
from .socket import Socket


class Poller:
    """Wait for events of sockets, of descriptors and of what has one."""

    def __init__(self) -> None:
        self._wanted: dict[Any, int] = {}

    @property
    def sockets(self) -> Any:
        """All that is watched, each with its events."""
        return list(self._wanted.items())

    def __contains__(self, socket: Any) -> Any:
        return socket in self._wanted

    def register(self, socket: Any, flags: Any = POLLIN | POLLOUT) -> None:
        """Watch a socket."""
        if flags:
            self._wanted[socket] = flags
        else:
            self._wanted.pop(socket, None)

    def modify(self, socket: Any, flags: Any = POLLIN | POLLOUT) -> None:
        """Watch a socket for other events."""
        self.register(socket, flags)

    def unregister(self, socket: Any) -> None:
        """Stop watching a socket.

        Raises:
            KeyError: It is not watched.
        """
        del self._wanted[socket]

    def poll(self, timeout: Any = None) -> Any:
        """Return what happens, after `timeout` milliseconds at most: [(socket, events), …]."""
        forever = timeout is None or timeout < 0
        deadline = 0.0 if forever else time.monotonic() + timeout / 1000
        poll = _select.poll()
        others = {}  # by descriptor
        for socket, flags in self._wanted.items():
            if isinstance(socket, Socket):
                poll.register(socket.fileno(), _select.POLLIN)
            else:
                descriptor = socket if isinstance(socket, int) else socket.fileno()
                others[descriptor] = socket
                poll.register(descriptor, _to_system(flags))
        while True:
            found = self._events()
            left = None if forever else max(0.0, deadline - time.monotonic()) * 1000
            for descriptor, events in poll.poll(0 if found else left):
                if descriptor in others:
                    found.append((others[descriptor], _from_system(events)))
            if found or left == 0:
                return found

    def _events(self) -> Any:
        found = []
        for socket, flags in self._wanted.items():
            events = socket.getsockopt(15) & flags if isinstance(socket, Socket) else 0
            if events:
                found.append((socket, events))
        return found


def _to_system(flags: Any) -> Any:
    return (_select.POLLIN if flags & POLLIN else 0) | (_select.POLLOUT if flags & POLLOUT else 0)


def _from_system(events: Any) -> Any:
    known = _select.POLLIN | _select.POLLOUT
    return (
        (POLLIN if events & _select.POLLIN else 0)
        | (POLLOUT if events & _select.POLLOUT else 0)
        | (POLLERR if events & ~known else 0)
    )


def select(rlist: Any, wlist: Any, xlist: Any, timeout: Any = None) -> Any:
    """Wait as select.select does, for sockets too; `timeout` is in seconds."""
    poller = Poller()
    for socket in {*rlist, *wlist, *xlist}:
        flags = (POLLIN if socket in rlist else 0) | (POLLOUT if socket in wlist else 0)
        poller.register(socket, flags | (POLLERR if socket in xlist else 0))
    found = poller.poll(None if timeout is None or timeout < 0 else timeout * 1000)
    return tuple(
        [socket for socket, events in found if events & flag and socket in sockets]
        for sockets, flag in ((rlist, POLLIN), (wlist, POLLOUT), (xlist, POLLERR))
    )


def proxy(frontend: Any, backend: Any, capture: Any = None) -> None:
    """Pass messages between two sockets, or echo them on one, until the context is terminated."""
    poller = Poller()
    poller.register(frontend, POLLIN)
    poller.register(backend, POLLIN)
    while True:
        for socket, _ in poller.poll():
            parts = socket.recv_multipart()
            if capture is not None:
                capture.send_multipart(parts)
            (backend if socket is frontend else frontend).send_multipart(parts)


def device(device_type: Any, frontend: Any, backend: Any) -> None:
    """Do as `proxy` does, whatever the type."""
    proxy(frontend, backend)
