"""The kernel's end of the lifeline: a socket to the agent, on which the two exchange JSON lines.

Its end means that the other one is gone.
"""

import json
import socket
from typing import Any, Dict, Iterator, Optional

_socket: Optional[socket.socket] = None


def adopt(descriptor: int) -> None:
    """Use a descriptor that the agent has left us."""
    global _socket
    _socket = socket.socket(fileno=descriptor)


def is_open() -> bool:
    """Say whether this process is a kernel that an agent started."""
    return _socket is not None


def send(content: Dict[str, Any]) -> None:
    """Tell the agent something. Raises OSError."""
    assert _socket is not None
    _socket.sendall(json.dumps(content).encode() + b"\n")


def lines() -> Iterator[bytes]:
    """Yield what the agent says, until it is gone. Raises OSError."""
    assert _socket is not None
    with _socket.makefile("rb") as file:
        yield from file
