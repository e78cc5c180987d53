"""TCP connections to a host that may be about to come back to the network."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from contextlib import ExitStack
from typing import Any

RETRY_SECONDS = 1.0  # until we make one more attempt beside those that wait
_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR)


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """Connect to a port; make a new attempt every second until one succeeds.

    The system alone would repeat its attempt less and less often, and notice only seconds later
    that a host is back.

    Args:
        host: Its name or address.
        port: Its port.
        seconds: How long to try.

    Returns:
        A blocking socket.

    Raises:
        OSError: As `socket.create_connection`: `socket.gaierror` for a name that does not resolve,
            the refusal of the last address, or TimeoutError.
    """
    deadline = time.monotonic() + seconds
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    with ExitStack() as attempts, selectors.DefaultSelector() as selector:
        while time.monotonic() < deadline:
            address = addresses.pop(0)
            addresses.append(address)
            sock = attempts.enter_context(socket.socket(*address[:3]))
            failure = _begin(sock, address, selector)
            if not failure:
                won, address, failure = _wait(
                    selector, min(RETRY_SECONDS, deadline - time.monotonic())
                )
                if won is not None:
                    return won
            if failure:
                addresses = [a for a in addresses if a != address]
                if not addresses:
                    raise OSError(failure, os.strerror(failure))
    raise TimeoutError("timed out")


def _begin(sock: socket.socket, address: Any, selector: selectors.BaseSelector) -> int:
    sock.setblocking(False)
    failure = sock.connect_ex(address[4])
    if failure in _UNDER_WAY:
        selector.register(sock, selectors.EVENT_WRITE, address)
        return 0
    return failure


def _wait(
    selector: selectors.BaseSelector, seconds: float
) -> tuple[socket.socket | None, Any, int]:
    """Wait for an attempt to end.

    Returns:
        A connected socket or None, the attempt's address, and its errno; 0 if nothing went wrong.
    """
    for key, _ in selector.select(max(0.0, seconds)):
        sock = key.fileobj
        assert isinstance(sock, socket.socket)
        failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            selector.unregister(sock)
            return None, key.data, failure
        won = sock.dup()
        won.setblocking(True)
        won.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return won, key.data, 0
    return None, None, 0
