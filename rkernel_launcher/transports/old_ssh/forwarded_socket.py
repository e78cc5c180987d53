"""A socket whose other end is a connection inside SSH."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paramiko import Channel

CHUNK = 1 << 16
LAST_SECONDS = 1.0  # for what was written last to get away once the socket is closed


class Tunnel(socket.socket):
    """Our end of a connection inside SSH, which can be waited for as any socket.

    `last` is called a moment after it was closed, whatever still has not got away.
    """

    last: Callable[[], None] | None = None

    def close(self) -> None:
        """Close the connection."""
        super().close()
        last, self.last = self.last, None
        if last is not None:
            timer = threading.Timer(LAST_SECONDS, last)
            timer.daemon = True
            timer.start()


def through(channel: Channel, on_close: Callable[[], None] = lambda: None) -> Tunnel:
    """Return a socket that carries what an SSH channel does.

    Closing it closes the channel, and the other way round. `on_close` is called once our end is
    closed; it has to stop what may wait in the channel for ever.
    """
    ours, theirs = socket.socketpair()
    tunnel = Tunnel(fileno=ours.detach())
    outward = threading.Thread(target=_outward, args=(channel, theirs), daemon=True)
    threading.Thread(target=_inward, args=(channel, theirs), daemon=True).start()
    outward.start()

    def last() -> None:
        on_close()
        _close(channel)

    tunnel.last = last
    return tunnel


def _inward(channel: Channel, sock: socket.socket) -> None:
    try:
        while data := channel.recv(CHUNK):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        _close(channel)  # our end is gone


def _outward(channel: Channel, sock: socket.socket) -> None:
    with sock:
        try:
            while data := sock.recv(CHUNK):
                channel.sendall(data)
        except OSError:
            pass  # the channel is gone, as `_inward` finds too
        _close(channel)


def _close(channel: Channel) -> None:
    try:
        channel.close()
    except (OSError, EOFError):
        pass  # the whole connection is gone
