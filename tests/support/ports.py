"""Ports of this machine that are ours as long as this process runs."""

from __future__ import annotations

import socket

_reserved: list[socket.socket] = []


def unused_port() -> int:
    """Return a port at which nobody listens, and which no other program is given.

    A socket keeps it that is bound, but does not listen: another may listen beside it, if it sets
    SO_REUSEADDR as servers do.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    _reserved.append(sock)
    return int(sock.getsockname()[1])
