"""A socket whose other end is a connection inside SSH."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paramiko import Channel

CHUNK = 1 << 16


def through(channel: Channel, on_close: Callable[[], None] = lambda: None) -> socket.socket:
    """Return a socket that carries what an SSH channel does, since only sockets can be waited for.

    Closing it closes the channel, and the other way round; `on_close` is called then.
    """
    ours, theirs = socket.socketpair()
    threading.Thread(target=_inward, args=(channel, theirs), daemon=True).start()
    threading.Thread(target=_outward, args=(channel, theirs, on_close), daemon=True).start()
    return ours


def _inward(channel: Channel, sock: socket.socket) -> None:
    try:
        while data := channel.recv(CHUNK):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        _close(channel)  # our end is gone


def _outward(channel: Channel, sock: socket.socket, on_close: Callable[[], None]) -> None:
    with sock:
        try:
            while data := sock.recv(CHUNK):
                channel.sendall(data)
        except OSError:
            pass  # the channel is gone, as `_inward` finds too
        _close(channel)
        on_close()


def _close(channel: Channel) -> None:
    try:
        channel.close()
    except (OSError, EOFError):
        pass  # the whole connection is gone
