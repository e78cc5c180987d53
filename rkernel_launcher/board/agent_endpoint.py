"""The board's agent as the PC knows it: where it listens, and how a session with it goes on."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass
from typing import NamedTuple

from board_agent.link import handshake

from .. import errors
from .answers import Agent, AgentWithKernels

HANDSHAKE_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class AgentEndpoint:
    """An agent.

    Attributes:
        port: Its port on the board.
        token: The secret that both ends must know.
    """

    port: int
    token: bytes

    @classmethod
    def of(cls, reply: Agent | AgentWithKernels) -> AgentEndpoint:
        """Return the agent that a board's reply describes."""
        return cls(reply.port, bytes.fromhex(reply.token))


class ResumeReply(NamedTuple):
    """What the agent knows of a session.

    Attributes:
        status: A constant of `handshake`: NEW, RESUMED, or why the session is over.
        received: The number of the last frame that the agent has received.
    """

    status: int
    received: int


def new_session() -> bytes:
    """Return a random number for a session, as bytes."""
    return secrets.token_bytes(handshake.SESSION)


def shake_hands(
    sock: socket.socket, agent: AgentEndpoint, session: bytes, received: int, host: str
) -> ResumeReply:
    """Prove to the agent that we know its token, and make the agent prove the same.

    An error closes the connection.

    Args:
        sock: A connection to the agent.
        agent: Its token.
        session: The number of the session to begin or to resume.
        received: The number of the last frame of that session that came here; 0 for none.
        host: The board's name for people.

    Raises:
        NotAnAgent: The peer does not speak our protocol.
        OtherAgent: The peer speaks another version of it.
        LinkRefused: The peer closed the connection, as an agent does that does not know our token.
        WrongToken: The peer does not know the token.
        HandshakeCut: The connection broke, or the peer was silent for `HANDSHAKE_TIMEOUT`.
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
        reply = ResumeReply(*handshake.shake_hands(sock, shake))
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
    return reply
