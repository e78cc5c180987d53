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

HANDSHAKE_TIMEOUT = 10.0  # for the handshake


@dataclass(frozen=True)
class AgentEndpoint:
    """An agent, as another process reaches it.

    Attributes:
        port: Its port, if it listens at one.
        socket: The path of its Unix socket on the board.
        token: What both ends have to know.
    """

    port: int | None
    socket: str
    token: bytes

    @classmethod
    def of(cls, said: Agent | AgentWithKernels) -> AgentEndpoint:
        """Return the agent that a board told of."""
        return cls(said.port, said.socket, bytes.fromhex(said.token))


class ResumeReply(NamedTuple):
    """What the agent knows of a session: a status of `handshake`, and the last frame it has."""

    status: int
    received: int


def new_session() -> bytes:
    """Return the number of a session that nobody else has."""
    return secrets.token_bytes(handshake.SESSION)


def shake_hands(
    stream: Stream, agent: AgentEndpoint, session: bytes, received: int, host: str
) -> ResumeReply:
    """Prove ourselves to the agent at the other end of a stream, and have it prove itself.

    Args:
        stream: The stream, which is closed if this fails.
        agent: The agent.
        session: The number of what goes on there.
        received: The number of the last frame of it that came here.
        host: The board's name for people.

    Raises:
        RkernelError: NotAnAgent, OtherAgent, LinkRefused, WrongToken or HandshakeCut.
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
    while shake.reply is None:
        if out := shake.data_to_send():
            stream.write(out, deadline - time.monotonic())
        data = stream.read(1, deadline - time.monotonic())
        if not data:
            raise EOFError("it hung up")
        shake.receive_data(data)
    return shake.reply
