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
    """Return a socket that listens at HOST:PORT, an IPv6 address in brackets. Raises OSError."""
    host, port = bind.rsplit(":", 1)
    listener = socket.socket(socket.AF_INET6 if host.startswith("[") else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return _listen(listener, (host.strip("[]"), int(port)))


def unix(path: str) -> socket.socket:
    """Return a Unix socket that listens at a path, for this user alone. Raises OSError."""
    listener = _listen(socket.socket(socket.AF_UNIX), path)
    os.chmod(path, 0o600)
    return listener


def _listen(listener: socket.socket, address: Any) -> socket.socket:
    try:
        listener.bind(address)
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
