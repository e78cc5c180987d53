"""The sockets at which the agent accepts connections."""

import errno
import os
import socket
from typing import Any, Callable

from ..link.event_loop import AnyLoop

BACKLOG = 128
ACCEPT_BACKOFF = 1.0  # seconds without new connections when there is no descriptor left for them
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def tcp(bind: str) -> socket.socket:
    """Return a socket that listens at HOST:PORT; without HOST, at all addresses of both versions.

    Raises:
        OSError: It cannot.
    """
    host, port = bind.rsplit(":", 1)
    both = not host and socket.has_dualstack_ipv6()
    listener = socket.create_server(
        (host, int(port)),
        family=socket.AF_INET6 if both else socket.AF_INET,
        dualstack_ipv6=both,
        backlog=BACKLOG,
    )
    listener.setblocking(False)
    return listener


def unix(path: str) -> socket.socket:
    """Return a Unix socket that listens at a path, for this user alone. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


class Acceptor:
    """Accept what comes to a listening socket.

    Args:
        loop: The agent's loop.
        listener: The socket, which this object owns from then on.
        on_accept: Called with each new socket, which does not block, and its peer's address.
    """

    def __init__(
        self,
        loop: AnyLoop,
        listener: socket.socket,
        on_accept: Callable[[socket.socket, Any], None],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._on_accept = on_accept
        self._cancel: Callable[[], None] = lambda: None
        self._listen()

    def close(self) -> None:
        """Accept no more."""
        self._cancel()
        self._loop.watch(self._listener, None, None)
        self._listener.close()

    def _listen(self) -> None:
        self._loop.watch(self._listener, self._accept, None)

    def _accept(self) -> None:
        try:
            sock, address = self._listener.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._loop.watch(self._listener, None, None)
                self._cancel = self._loop.call_later(ACCEPT_BACKOFF, self._listen)
            return
        sock.setblocking(False)
        self._on_accept(sock, address)
