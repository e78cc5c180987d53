"""The board's agent as the PC knows it: where it listens, and how a session with it goes on."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import NamedTuple

from board_agent.link import handshake

from .. import errors
from ..transports.stream import Stream
from .answers import Agent, AgentWithKernels

HANDSHAKE_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class AgentEndpoint:
    """An agent, as another process reaches it.

    Attributes:
        port: Its port, if it listens at one.
        socket: The path of its Unix socket on the board.
        machine: The board's own name.
        token: What both ends have to know.
    """

    port: int | None
    socket: str
    machine: str
    token: bytes

    @classmethod
    def of(cls, reply: Agent | AgentWithKernels) -> AgentEndpoint:
        """Return the agent that a board's reply describes."""
        return cls(reply.port, reply.socket, reply.machine, bytes.fromhex(reply.token))


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
    stream: Stream, agent: AgentEndpoint, session: bytes, received: int, host: str
) -> ResumeReply:
    """Prove to the agent that we know its token, and make the agent prove the same.

    An error closes the stream.

    Args:
        stream: A stream to the agent.
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
    shake = handshake.LauncherHandshake(agent.token, session, received)
    try:
        return ResumeReply(*_shake_hands(stream, shake))
    except BaseException as error:
        stream.close()
        if isinstance(error, EOFError):
            raise errors.LinkRefused(host=host) from error
        if isinstance(error, handshake.OtherVersion):
            raise errors.OtherAgent(host=host, version=error.version) from error
        if isinstance(error, handshake.NotOurs):
            raise errors.NotAnAgent(host=host) from error
        if isinstance(error, handshake.HandshakeError):
            raise errors.WrongToken(host=host) from error
        if isinstance(error, OSError):
            raise errors.HandshakeCut(host=host, detail=str(error)) from error
        raise


def _shake_hands(stream: Stream, shake: handshake.LauncherHandshake) -> tuple[int, int]:
    """Go through the handshake, and take nothing of what follows it."""
    deadline = time.monotonic() + HANDSHAKE_TIMEOUT
    ended: Exception = EOFError("it hung up")
    while shake.reply is None:
        if out := shake.data_to_send():
            try:
                stream.write(out, deadline - time.monotonic())
            except BrokenPipeError as error:  # what it said before it hung up says why
                ended = error
        data = stream.read(1, deadline - time.monotonic())
        if not data:
            raise ended
        shake.receive_data(data)
    return shake.reply
