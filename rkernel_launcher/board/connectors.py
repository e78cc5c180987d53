"""How a session with a board and a link to its agent come about: over one stream, or over ports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Protocol

from .. import errors
from ..transports.stream import Dial, Start, Stream
from . import bootstrap
from .agent_endpoint import AgentEndpoint
from .rpyc import session as rpyc_session
from .rpyc.session import Session

SESSION_SECONDS = 60.0  # for a slow board to start its Python, and for each request
REDIAL_SECONDS = 30.0  # for the same when the board is known to answer
SERVICE_SECONDS = 15.0  # for a board's own rpyc service to answer at all
TYPING_SECONDS = 300.0  # for a person to answer what a server asks


class Connector(Protocol):
    """How to reach one board."""

    @property
    def bind(self) -> str:
        """Where the agent is to listen for us; empty if it gets our streams."""

    def open_session(self) -> Session:
        """Begin a session with the board."""

    def connect(self, session: Session, agent: AgentEndpoint) -> Stream:
        """Return a stream to an agent; the session may end by this."""

    def redial(self, agent: AgentEndpoint) -> Stream:
        """Return a stream to an agent, from the beginning and asking nothing."""


@dataclass(frozen=True)
class StreamConnector:
    """Start programs on the board: the stream of the first becomes the link.

    Args:
        start: Starts a program there, and may ask a person.
        restart: Does so and asks nothing.
        python: The interpreter, as the board knows it.
        host: The board's name for people.
        attended: Whether `start` may ask.
    """

    start: Start
    restart: Start
    python: str
    host: str
    attended: bool
    bind: str = ""

    def open_session(self) -> Session:
        """Begin a session with the board."""
        timeout = TYPING_SECONDS if self.attended else SESSION_SECONDS
        session = bootstrap.open_session(self.start, self.python, timeout)
        session.timeout = SESSION_SECONDS
        return session

    def connect(self, session: Session, agent: AgentEndpoint) -> Stream:
        """Have the board hand the session's stream over."""
        return bootstrap.hand_over(session, agent, self.host)

    def redial(self, agent: AgentEndpoint) -> Stream:
        """Start a program that hands its stream over."""
        return bootstrap.redial(self.restart, self.python, agent, self.host, REDIAL_SECONDS)


@dataclass(frozen=True)
class PortConnector:
    """Connect to ports of the board: its rpyc service, and the agent.

    Args:
        dial: Connects to a port.
        service: The port of the rpyc service.
        host: The board's name for people.
        agent_port: Where the agent is to listen.
        interface: The address there; empty for all of them.
    """

    dial: Dial
    service: int
    host: str
    agent_port: int
    interface: str = ""

    @property
    def bind(self) -> str:
        """Where the agent is to listen for us."""
        return f"{self.interface}:{self.agent_port}"

    def open_session(self) -> Session:
        """Begin a session with the board's rpyc service."""
        dial: Callable[[], Stream] = partial(self.dial, self.service)
        session = rpyc_session.over_service(dial, self.host, self.service, SERVICE_SECONDS)
        session.timeout = SESSION_SECONDS
        return session

    def connect(self, session: Session, agent: AgentEndpoint) -> Stream:
        """Connect to the agent's port."""
        session.close()  # nothing of rpyc is to stay on the board
        return self.redial(agent)

    def redial(self, agent: AgentEndpoint) -> Stream:
        """Connect to the agent's port."""
        assert agent.port is not None
        try:
            return self.dial(agent.port)
        except errors.PortRefused as error:
            refused = errors.AgentNotForwarded if _is_this_pc(self.host) else errors.AgentRefused
            raise refused(host=self.host, port=agent.port) from error


def _is_this_pc(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
