"""Ask the agents that run on this board, from the bootstrap session and without a launcher."""

import os
import socket
import time
from typing import Any, Dict, List

from . import handshake
from .events import Message
from .frames import ProtocolError
from .link import Link

SECONDS = 10.0  # for an agent to answer, and for kernels to end
POLL = 0.1
_TROUBLES = (OSError, EOFError, ValueError, KeyError, ProtocolError, handshake.HandshakeError)


class NoAnswer(Exception):
    """The agent does not answer as one of ours does."""


def kernels(state: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return what an agent says of its kernels.

    Parameters: state, as the agent wrote it. Raises NoAnswer.
    """
    return _ask(state, [])


def stop(state: Dict[str, Any], wanted: List[str]) -> None:
    """End kernels of an agent, by their ids, and wait until they are gone. Raises NoAnswer."""
    deadline = time.monotonic() + SECONDS
    while any(found["kernel"] in wanted for found in _ask(state, wanted)):
        if time.monotonic() > deadline:
            raise NoAnswer("the kernels do not end")
        time.sleep(POLL)


def _ask(state: Dict[str, Any], to_stop: List[str]) -> List[Dict[str, Any]]:
    """End kernels, and return all that are there."""
    try:
        with socket.create_connection(("127.0.0.1", int(state["port"])), SECONDS) as sock:
            session = os.urandom(handshake.SESSION)
            shake = handshake.Launcher(bytes.fromhex(state["token"]), session, 0)
            handshake.shake_hands(sock, shake)
            link = Link()
            for kernel in to_stop:
                link.message({"type": "stop", "kernel": kernel})
            link.message({"type": "list"})
            sock.sendall(link.take())
            while True:
                for event in link.receive(_some(sock)):
                    if isinstance(event, Message) and event.content.get("type") == "kernels":
                        return list(event.content["kernels"])
    except _TROUBLES as error:
        raise NoAnswer(str(error)) from None


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 16)
    if not data:
        raise EOFError("it hung up")
    return data
