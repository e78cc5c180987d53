"""A board that we have reached: its facts, its agent, and a connection to that agent.

Everything here is the same for every transport; `reach.reach` chooses one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from .. import errors
from ..target import Target
from ..transports.stream import Stream
from . import agent_archive, answers, package_managers
from .agent_endpoint import AgentEndpoint
from .answers import (
    Agent,
    Agents,
    AgentsWithKernels,
    Complaint,
    Done,
    Facts,
    Installed,
    LoginPython,
    never,
)
from .connectors import Connector
from .kernel_status import KernelStatus
from .rpyc.session import Session

_T = TypeVar("_T")
Refusal = Callable[[Complaint], errors.RkernelError]

NO_SPACE = ("ENOSPC", "EDQUOT")


class Running(NamedTuple):
    """What runs on a board.

    Attributes:
        kernels: The kernels.
        complete: Whether all agents there have answered.
        lacks: The groups that the account has now, and that some of the agents have not.
    """

    kernels: list[KernelStatus]
    complete: bool
    lacks: list[str]


@dataclass
class Board:
    """A session with a board.

    Every method that asks the board something also raises the errors of `Session.call`:
    BoardSilent, BoardLost, BoardMisbehaved and BoardError.

    Attributes:
        target: How it was reached: `via` is never "auto".
        connector: How to reach it again.
        session: Where our code runs on the board.
    """

    target: Target
    connector: Connector
    session: Session

    @classmethod
    def open(cls, target: Target, connector: Connector) -> Board:
        """Begin a session with a board.

        Args:
            target: Where the board is; `via` is not "auto".
            connector: How to reach it.

        Raises:
            RkernelError: Those of reaching a board, see `errors`.
        """
        return cls(target, connector, connector.open_session())

    def close(self) -> None:
        """End the session; a link that was made stays. Nothing of rpyc is left on the board."""
        self.session.close()

    def prepare(self) -> None:
        """Put our code on the board, unless it is there.

        Raises:
            NoSpace: The board's disk is full.
            CacheUnusable: We cannot write to our folder there, or it does not keep files.
        """
        self.session.execute(agent_archive.loader_source())
        version = agent_archive.version()
        if self._load(version):
            return
        reply = self.session.call("install", version, agent_archive.archive())
        answers.read("install", Done, reply, self._not_installed)
        if not self._load(version):
            raise errors.CacheUnusable(path="~/.cache/rkernel", detail="it does not keep files")

    def _load(self, version: str) -> bool:
        reply = self.session.call("load", version)
        return answers.read("load", Installed, reply, never).installed

    def facts(self) -> Facts:
        """Return what the board is.

        Raises:
            NoPython: The board cannot start its Python.
            TrimmedPython: Its Python lacks a part of itself.
        """
        return self.ask(Facts, self.no_python, "facts", python=self.target.python)

    def login_python(self, found: Facts) -> LoginPython:
        """Return the Python that a person gets at a terminal there, if it is another one.

        Args:
            found: What `facts` returned.
        """
        return self.ask(LoginPython, never, "login_python", executable=found.executable)

    def start_agent(self) -> AgentEndpoint:
        """Return the agent of our version; start it unless it runs.

        Raises:
            LinkPortTaken: Another program uses the port in `bind`.
            CacheUnusable: The board has no private folder for the agent.
            AgentFailed: The agent did not start.
        """
        agent = self.ask(
            Agent,
            self._no_agent,
            "ensure_agent",
            code=agent_archive.version(),
            bind=self.connector.bind,
            python=self.target.python,
        )
        return AgentEndpoint.of(agent)

    def kernels(self) -> Running:
        """List the kernels that run on the board."""
        agents = self.ask(AgentsWithKernels, never, "find_kernels").agents
        found = [
            KernelStatus.of(AgentEndpoint.of(agent), kernel)
            for agent in agents
            for kernel in agent.kernels or []
        ]
        lacks = {group for agent in agents for group in agent.lacks}
        return Running(found, all(agent.kernels is not None for agent in agents), sorted(lacks))

    def stop(self, kernels: list[str]) -> None:
        """End kernels on the board.

        Args:
            kernels: Their ids.

        Raises:
            KernelsStay: Some did not end.
        """
        self.ask(Done, self._kernels_stay, "stop", kernels=kernels)

    def connect(self, agent: AgentEndpoint) -> Stream:
        """Return a stream to an agent; the session is over then.

        Args:
            agent: The agent.

        Raises:
            RkernelError: Those of reaching a board, see `errors`.
        """
        try:
            return self.connector.connect(self.session, agent)
        finally:
            self.close()

    def redial(self, agent: AgentEndpoint) -> Stream:
        """Return a stream to an agent, from the beginning and asking nothing.

        Args:
            agent: The agent.

        Raises:
            RkernelError: Those of reaching a board, see `errors`.
        """
        return self.connector.redial(agent)

    def still_runs(self, agent: AgentEndpoint) -> bool:
        """Reach the board again and say whether an agent still runs there.

        Raises:
            OtherMachine: This is another machine than the agent's.
            RkernelError: As `open` and `prepare`.
        """
        board = Board.open(self.target, self.connector)
        try:
            board.prepare()
            found = board.ask(Agents, never, "find_agents")
        finally:
            board.close()
        if found.machine != agent.machine:
            facts = {"host": self.target.name, "now": found.machine, "before": agent.machine}
            raise errors.OtherMachine(**facts)
        return agent in map(AgentEndpoint.of, found.agents)

    def install_key(self, public_key: bytes) -> None:
        """Allow a key to log in to the account on the board, unless it may already.

        Args:
            public_key: The content of a .pub file: one line, in any encoding.

        Raises:
            KeyNotInstalled: The board could not write it.
        """

        def refused(reply: Complaint) -> errors.RkernelError:
            return errors.KeyNotInstalled(place=self.target.name, detail=reply.detail)

        self.send(Done, refused, "install_key", public_key)

    def purge(self) -> None:
        """End all kernels and agents of rkernel on the board, and remove its files there.

        Raises:
            KernelsStay: An agent did not end.
            CacheUnusable: The board could not remove a file.
        """
        self.ask(Done, self._kernels_stay, "purge")

    def ask(self, kind: type[_T], refusal: Refusal, name: str, /, **arguments: object) -> _T:
        """Call a function of our code on the board.

        Args:
            kind: The class in `answers` of its answer.
            refusal: Makes an error of a complaint.
            name: The function's name.
            **arguments: Its arguments, which JSON can represent.

        Raises:
            RkernelError: The board complains; `refusal` made this error.
            BoardMisbehaved: The answer makes no sense.
        """
        reply = self.session.call("call", name, json.dumps(arguments))
        return answers.read(name, kind, reply, refusal)

    def send(
        self, kind: type[_T], refusal: Refusal, name: str, data: bytes, *arguments: str | int
    ) -> _T:
        """Call a function of our code on the board that takes bytes and then other arguments.

        `ask` explains the rest.

        Args:
            kind: The class in `answers` of its answer.
            refusal: Makes an error of a complaint.
            name: The function's name.
            data: Its first argument.
            *arguments: Its other arguments.
        """
        reply = self.session.call("send", name, data, json.dumps(arguments))
        return answers.read(name, kind, reply, refusal)

    def _no_agent(self, reply: Complaint) -> errors.RkernelError:
        if isinstance(reply.error, int):
            return errors.LinkPortTaken(
                port=self.connector.bind.rpartition(":")[2], detail=reply.detail
            )
        if reply.error in NO_SPACE or reply.path:
            return unwritable(reply)
        if reply.error == "no_home":
            return errors.CacheUnusable(path="a private folder", detail=reply.detail)
        return self._trimmed(reply) or errors.AgentFailed(detail=reply.last_line)

    def no_python(self, reply: Complaint) -> errors.RkernelError:
        """Return the error for a complaint about the board's Python."""
        return self._trimmed(reply) or errors.NoPython(detail=reply.last_line)

    def _not_installed(self, reply: Complaint) -> errors.RkernelError:
        return self._trimmed(reply) or unwritable(reply)

    def _trimmed(self, reply: Complaint) -> errors.RkernelError | None:
        python = self.target.python
        return package_managers.trimmed(reply.last_line, python, reply.installers)

    def _kernels_stay(self, reply: Complaint) -> errors.RkernelError:
        if reply.path:
            return errors.CacheUnusable(path=reply.path, detail=reply.error)
        return errors.KernelsStay(host=self.target.name, detail=reply.error)


def unwritable(reply: Complaint) -> errors.RkernelError:
    """Return the error for a complaint about the board's disk."""
    wrong = errors.NoSpace if reply.error in NO_SPACE else errors.CacheUnusable
    return wrong(path=reply.path, detail=reply.detail)
