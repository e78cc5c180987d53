"""Ask the agents that run on this board, without a launcher.

Run by the bootstrap session as `python -m board_agent.bootstrap.agent_client find`, or `stop` with
kernels' ids; says what came of it on stdout, as JSON.
"""

import json
import os
import socket
import sys
import time
from typing import Any, Dict, List, Optional

from ..common.agent_lock import agents
from ..link import handshake
from ..link.events import Message
from ..link.frames import ProtocolError
from ..link.link import Link

AGENT_TIMEOUT = 10.0  # for an agent to answer, and for kernels to end
POLL_SECONDS = 0.1
_TROUBLES = (OSError, EOFError, ValueError, KeyError, ProtocolError, handshake.HandshakeError)


class NoAnswer(Exception):
    """The agent does not answer as one of ours does."""


def find() -> Dict[str, Any]:
    """Return how to reach the agents that run here, each with its kernels, or None if it is mum."""
    found = []
    for state in agents():
        try:
            kernels: Optional[List[Dict[str, Any]]] = _ask(state, [])
        except NoAnswer:
            kernels = None  # as one of another version
        found.append(dict(state, kernels=kernels))
    return {"agents": found}


def stop(*kernels: str) -> Dict[str, Any]:
    """End kernels of any agent here; say what went wrong."""
    left, trouble = set(kernels), ""
    for state in agents():
        try:
            mine = left.intersection(kernel["kernel"] for kernel in _ask(state, []))
            if mine:
                _end(state, sorted(mine))
                left -= mine
        except NoAnswer as error:
            trouble = str(error)
    return {"error": trouble} if left and trouble else {}


def _end(state: Dict[str, Any], wanted: List[str]) -> None:
    """End kernels of an agent, by their ids, and wait until they are gone. Raises NoAnswer."""
    deadline = time.monotonic() + AGENT_TIMEOUT
    while any(found["kernel"] in wanted for found in _ask(state, wanted)):
        if time.monotonic() > deadline:
            raise NoAnswer("the kernels do not end")
        time.sleep(POLL_SECONDS)


def _ask(state: Dict[str, Any], to_stop: List[str]) -> List[Dict[str, Any]]:
    """End kernels, and return all that are there."""
    try:
        with socket.create_connection(("127.0.0.1", int(state["port"])), AGENT_TIMEOUT) as sock:
            session = os.urandom(handshake.SESSION)
            shake = handshake.LauncherHandshake(bytes.fromhex(state["token"]), session, 0)
            handshake.shake_hands(sock, shake)
            link = Link()
            for kernel in to_stop:
                link.message({"type": "stop", "kernel": kernel})
            link.message({"type": "list"})
            sock.sendall(link.data_to_send())
            while True:
                for event in link.receive_data(_receive(sock)):
                    if isinstance(event, Message) and event.content.get("type") == "kernels":
                        return list(event.content["kernels"])
    except _TROUBLES as error:
        raise NoAnswer(str(error)) from None


def _receive(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 16)
    if not data:
        raise EOFError("it hung up")
    return data


if __name__ == "__main__":
    print(json.dumps({"find": find, "stop": stop}[sys.argv[1]](*sys.argv[2:])))
