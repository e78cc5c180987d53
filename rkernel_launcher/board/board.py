"""A board we have reached: its facts, its agent, and a link to that agent.

Everything here is the same however the board was reached; `reach.reach` does that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from .. import errors
from ..target import Target
from ..transports.stream import Stream
from . import agent_archive, answers
from .agent_endpoint import AgentEndpoint
from .answers import Agent, Agents, AgentsWithKernels, Complaint, Done, Facts, Installed, never
from .kernel_status import KernelStatus
from .rpyc.session import Session
from .ways import Way

_T = TypeVar("_T")
Refusal = Callable[[Complaint], errors.RkernelError]

_NO_SPACE = ("ENOSPC", "EDQUOT")


@dataclass
class Board:
    """A session with a board.

    Attributes:
        target: The target, its way decided.
        way: The way to it.
        session: The session.
    """

    target: Target
    way: Way
    session: Session

    @classmethod
    def open(cls, target: Target, way: Way) -> Board:
        """Begin a session with a board.

        Args:
            target: The target, its way decided.
            way: The way to it.

        Raises:
            RkernelError: Those of reaching a board, see `errors`.
        """
        return cls(target, way, way.open_session())

    def close(self) -> None:
        """End the session; a link that was made stays. Nothing of rpyc is left on the board."""
        self.session.close()

    def prepare(self) -> None:
        """Put our code on the board, unless it is there. Raises NoSpace or CacheUnusable."""
        self.session.execute(agent_archive.install_source())
        version = agent_archive.version()
        if self._load(version):
            return
        said = self.session.call("install", version, agent_archive.archive())
        answers.read("install", Done, said, unwritable)
        if not self._load(version):
            raise errors.CacheUnusable(path="~/.cache/rkernel", detail="it does not keep files")

    def _load(self, version: str) -> bool:
        said = self.session.call("load", version)
        return answers.read("load", Installed, said, never).installed

    def facts(self) -> Facts:
        """Return what the board is. Raises NoPython."""
        return self.ask(Facts, no_python, "facts", python=self.target.python)

    def start_agent(self) -> AgentEndpoint:
        """Return the agent, started if need be.

        Raises LinkPortTaken, CacheUnusable or AgentFailed.
        """
        agent = self.ask(
            Agent,
            self._no_agent,
            "ensure_agent",
            code=agent_archive.version(),
            bind=self.way.bind,
            python=self.target.python,
        )
        return AgentEndpoint.of(agent)

    def kernels(self) -> tuple[list[KernelStatus], bool]:
        """Return the kernels that run on the board, and whether all agents there have answered."""
        agents = self.ask(AgentsWithKernels, never, "find_kernels").agents
        found = [
            KernelStatus.of(AgentEndpoint.of(agent), kernel)
            for agent in agents
            for kernel in agent.kernels or []
        ]
        return found, all(agent.kernels is not None for agent in agents)

    def stop(self, kernels: list[str]) -> None:
        """End kernels on the board, by their ids. Raises KernelsStay."""
        self.ask(Done, self._kernels_stay, "stop", kernels=kernels)

    def connect(self, agent: AgentEndpoint) -> Stream:
        """Return a stream to an agent; the session is over then.

        Args:
            agent: The agent.

        Raises:
            RkernelError: Those of reaching a board, see `errors`.
        """
        try:
            return self.way.connect(self.session, agent)
        finally:
            self.close()

    def redial(self, agent: AgentEndpoint) -> Stream:
        """Return a stream to an agent, from the beginning and asking nothing.

        Args:
            agent: The agent.

        Raises:
            RkernelError: Those of reaching a board, see `errors`.
        """
        return self.way.redial(agent)

    def find_agents(self) -> list[AgentEndpoint]:
        """Reach the board anew and return the agents that run there now.

        Raises:
            RkernelError: Those of reaching a board, see `errors`.
        """
        board = Board.open(self.target, self.way)
        try:
            board.prepare()
            agents = board.ask(Agents, never, "find_agents").agents
            return [AgentEndpoint.of(agent) for agent in agents]
        finally:
            board.close()

    def install_key(self, public_key: bytes) -> None:
        """Let a key log in to the account on the board; once is enough.

        Args:
            public_key: The content of a .pub file: one line, in any encoding.

        Raises:
            KeyNotInstalled: It could not be written there.
        """

        def refused(said: Complaint) -> errors.RkernelError:
            return errors.KeyNotInstalled(place=self.target.name, detail=said.detail)

        self.send(Done, refused, "install_key", public_key)

    def purge(self) -> None:
        """End all that runs there of ours, and remove it. Raises KernelsStay or CacheUnusable."""
        self.ask(Done, self._kernels_stay, "purge")

    def ask(self, kind: type[_T], refusal: Refusal, name: str, /, **arguments: object) -> _T:
        """Call a function of our code on the board.

        Parameters: kind of its answer; refusal, what makes an error of a complaint.
        Raises that error, or BoardMisbehaved.
        """
        said = self.session.call("call", name, json.dumps(arguments))
        return answers.read(name, kind, said, refusal)

    def send(
        self, kind: type[_T], refusal: Refusal, name: str, data: bytes, *arguments: str | int
    ) -> _T:
        """Call one that takes bytes, and then other arguments; see `ask`."""
        said = self.session.call("send", name, data, json.dumps(arguments))
        return answers.read(name, kind, said, refusal)

    def _no_agent(self, said: Complaint) -> errors.RkernelError:
        if isinstance(said.error, int):
            port = self.way.bind.rpartition(":")[2]
            return errors.LinkPortTaken(port=port, detail=said.detail)
        if said.error == "no_home":
            return errors.CacheUnusable(path="a private folder", detail=said.detail)
        return errors.AgentFailed(detail=said.last_line)

    def _kernels_stay(self, said: Complaint) -> errors.RkernelError:
        if said.path:
            return errors.CacheUnusable(path=said.path, detail=said.error)
        return errors.KernelsStay(host=self.target.name, detail=said.error)


def unwritable(said: Complaint) -> errors.RkernelError:
    """Return the error for what the board says of its disk."""
    wrong = errors.NoSpace if said.error in _NO_SPACE else errors.CacheUnusable
    return wrong(path=said.path, detail=said.detail)


def no_python(said: Complaint) -> errors.RkernelError:
    """Return the error for what the board says of its Python."""
    return errors.NoPython(detail=said.last_line)
