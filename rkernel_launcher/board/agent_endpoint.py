"""The board's agent as the PC knows it: where it listens, and how a session with it goes on."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass
from typing import NamedTuple

from board_agent.link import handshake

from .. import errors
from .answers import Agent, AgentWithKernels

HANDSHAKE_TIMEOUT = 10.0  # for the handshake


@dataclass(frozen=True)
class AgentEndpoint:
    """An agent: its port on the board, and the token that both ends have to know."""

    port: int
    token: bytes

    @classmethod
    def of(cls, said: Agent | AgentWithKernels) -> AgentEndpoint:
        """Return the agent that a board told of."""
        return cls(said.port, bytes.fromhex(said.token))


class ResumeReply(NamedTuple):
    """What the agent knows of a session: a status of `handshake`, and the last frame it has."""

    status: int
    received: int


def new_session() -> bytes:
    """Return the number of a session that nobody else has."""
    return secrets.token_bytes(handshake.SESSION)


def shake_hands(
    sock: socket.socket, agent: AgentEndpoint, session: bytes, received: int, host: str
) -> ResumeReply:
    """Prove ourselves to the agent at the other end of `sock`, and have it prove itself.

    Parameters: session and received, what goes on there and the last frame that came here; host,
    its name for people. Closes the connection when it raises NotAnAgent, OtherAgent, LinkRefused,
    WrongToken or HandshakeCut.
    """
    try:
        return _shake_hands(sock, agent, session, received, host)
    except BaseException:
        sock.close()
        raise


def _shake_hands(
    sock: socket.socket, agent: AgentEndpoint, session: bytes, received: int, host: str
) -> ResumeReply:
    sock.settimeout(HANDSHAKE_TIMEOUT)
    shake = handshake.LauncherHandshake(agent.token, session, received)
    try:
        answer = ResumeReply(*handshake.shake_hands(sock, shake))
    except EOFError as error:
        raise errors.LinkRefused(host=host) from error
    except handshake.OtherVersion as error:
        raise errors.OtherAgent(host=host, version=error.version) from error
    except handshake.NotOurs as error:
        raise errors.NotAnAgent(host=host) from error
    except handshake.HandshakeError as error:
        raise errors.WrongToken(host=host) from error
    except OSError as error:
        raise errors.HandshakeCut(host=host, detail=str(error)) from error
    sock.settimeout(None)
    return answer
