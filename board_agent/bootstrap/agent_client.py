"""Ask the agents that run on this board, without a launcher.

The bootstrap session runs it as `python -m board_agent.bootstrap.agent_client find`, or `stop` with
kernels' ids. It prints the result as a reply.
"""

import os
import socket
import sys
import time
from typing import Any, Dict, List, Optional

from ..common import groups, reply
from ..common.agent_lock import agents
from ..link import handshake
from ..link.events import Message
from ..link.frames import ProtocolError
from ..link.link import Link
from ..link.messages import (
    REPLIES,
    BadMessage,
    KernelInfo,
    Kernels,
    ListKernels,
    Stop,
    from_json,
    plain,
    to_json,
)

AGENT_TIMEOUT = 10.0  # for an agent to answer, and for kernels to end
POLL_SECONDS = 0.1
_TROUBLES = (OSError, EOFError, ProtocolError, handshake.HandshakeError, BadMessage)


class NoAnswer(Exception):
    """The agent does not answer, or not as one of ours does."""


def find() -> Dict[str, Any]:
    """Return how to reach each agent that runs here, with its kernels, or None if it is silent.

    With it goes what it `lacks`: groups that a login has now.
    """
    found = []
    for state in agents():
        try:
            kernels: Optional[List[Any]] = [plain(kernel) for kernel in _ask(state, [])]
        except NoAnswer:
            kernels = None  # as one of another version
        found.append(dict(state, kernels=kernels, lacks=groups.lacking(state["pid"])))
    return {"agents": found}


def stop(*kernels: str) -> Dict[str, Any]:
    """End kernels of any agent here.

    Args:
        kernels: Their ids.

    Returns:
        An `error`, if one of them may still run.
    """
    left, trouble = set(kernels), ""
    for state in agents():
        try:
            mine = left.intersection(found.kernel for found in _ask(state, []))
            if mine:
                _end(state, sorted(mine))
                left -= mine
        except NoAnswer as error:
            trouble = str(error)
    return {"error": trouble} if left and trouble else {}


def _end(state: Dict[str, Any], wanted: List[str]) -> None:
    """End kernels of an agent, by their ids, and wait until they are gone.

    Raises:
        NoAnswer: The agent is silent, or they do not end.
    """
    deadline = time.monotonic() + AGENT_TIMEOUT
    while any(found.kernel in wanted for found in _ask(state, wanted)):
        if time.monotonic() > deadline:
            raise NoAnswer("the kernels do not end")
        time.sleep(POLL_SECONDS)


def _ask(state: Dict[str, Any], to_stop: List[str]) -> List[KernelInfo]:
    """End kernels by their ids, and return all that the agent has.

    Raises:
        NoAnswer: The agent is silent.
    """
    try:
        path, token = state["socket"], bytes.fromhex(state["token"])
    except (KeyError, TypeError, ValueError):
        raise NoAnswer("its state makes no sense") from None
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(AGENT_TIMEOUT)
            sock.connect(path)
            sock.sendall(b"r")
            session = os.urandom(handshake.SESSION)
            handshake.shake_hands(sock, handshake.LauncherHandshake(token, session, 0))
            link = Link()
            for request in [*map(Stop, to_stop), ListKernels()]:
                link.message(to_json(request))
            sock.sendall(link.data_to_send())
            return _kernels(sock, link)
    except _TROUBLES as error:
        raise NoAnswer(str(error)) from None


def _kernels(sock: socket.socket, link: Link) -> List[KernelInfo]:
    """Wait for the agent's list of kernels."""
    while True:
        data = sock.recv(1 << 16)
        if not data:
            raise EOFError("it hung up")
        for event in link.receive_data(data):
            if isinstance(event, Message):
                message = from_json(event.content, REPLIES, lambda text: None)
                if isinstance(message, Kernels):
                    return message.kernels


if __name__ == "__main__":
    reply.say({"find": find, "stop": stop}[sys.argv[1]](*sys.argv[2:]))
