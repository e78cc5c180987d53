"""The kernel's socket to its agent, on which the two exchange JSON lines.

When it ends, the other one is gone.
"""

import json
import socket
from typing import Any, Callable, Dict, Iterator, Optional

READ_SIZE = 4096  # bytes: the agent sends little

_socket: Optional[socket.socket] = None


def adopt(descriptor: int) -> None:
    """Use a descriptor that the agent has left us."""
    global _socket
    _socket = socket.socket(fileno=descriptor)


def is_open() -> bool:
    """Return whether this process is a kernel that an agent started."""
    return _socket is not None


def send(content: Dict[str, Any]) -> None:
    """Send the agent a JSON object.

    Raises:
        OSError: The agent is gone.
    """
    assert _socket is not None
    _socket.sendall(json.dumps(content).encode() + b"\n")


def lines(wait: Callable[[int], None]) -> Iterator[bytes]:
    """Read what the agent sends, until it is gone.

    Args:
        wait: Returns once a descriptor can be read.

    Yields:
        Lines, each a JSON object.

    Raises:
        OSError: The socket failed.
    """
    assert _socket is not None
    line = b""
    while True:
        wait(_socket.fileno())
        received = _socket.recv(READ_SIZE)
        if not received:
            return
        *whole, line = (line + received).split(b"\n")
        yield from whole
