"""A board we have reached: its facts, its agent, and a link to that agent.

Everything here is the same however the board was reached; `ways.reach` does that.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import errors
from ..sanitize import escape_controls
from ..target import Target
from ..transports.rpyc.session import Session
from . import agent_archive
from .agent_endpoint import AgentEndpoint
from .kernel_status import KernelStatus

_NO_SPACE = ("ENOSPC", "EDQUOT")


@dataclass
class Board:
    """A bootstrap session with a board.

    `connect` opens a connection to a port of the board's agent, and `bind` is where the agent is
    to listen for it. `close` ends what the way to the board holds open; links made before end too.
    `redial` opens a connection as well, from the beginning and asking nothing, and `again` reaches
    the board so: for when all this has broken. `offer_key` asks whether the next login may do
    without the password that this one needed.
    """

    target: Target
    session: Session
    bind: str
    connect: Callable[[int], socket.socket]
    close: Callable[[], None]
    redial: Callable[[int], socket.socket]
    reconnect: Callable[[], Board]
    offer_key: Callable[[Any], None] = lambda prompts: None

    def prepare(self) -> None:
        """Put our code on the board, unless it is there. Raises NoSpace or CacheUnusable."""
        self.session.execute(agent_archive.install_source())
        if self.session.call("load", agent_archive.version())["installed"]:
            return
        said = self.session.call("install", agent_archive.version(), agent_archive.archive())
        if "error" in said:
            raise unwritable(said)
        if not self.session.call("load", agent_archive.version())["installed"]:
            raise errors.CacheUnusable(path="~/.cache/rkernel", detail="it does not keep files")

    def facts(self) -> dict[str, Any]:
        """Return what the board is. Raises NoPython."""
        said = self.ask("facts", python=self.target.python)
        if "error" in said:
            raise errors.NoPython(detail=_last_line(said["detail"]))
        return said

    def start_agent(self, idle: float | None = None) -> AgentEndpoint:
        """Return the agent, started if need be.

        Parameters: idle, seconds after which an agent that is started now ends itself.
        Raises LinkPortTaken, CacheUnusable or AgentFailed.
        """
        said = self.ask(
            "ensure_agent",
            code=agent_archive.version(),
            bind=self.bind,
            python=self.target.python,
            idle=idle,
        )
        if "error" in said:
            raise _agent_error(said, self.bind)
        return _agent(said)

    def kernels(self) -> tuple[list[KernelStatus], bool]:
        """Return the kernels that run on the board, and whether all agents there have answered."""
        found = [_kernels(agent) for agent in self.ask("find_kernels")["agents"]]
        return [kernel for some in found for kernel in some or []], None not in found

    def stop(self, kernels: list[str]) -> None:
        """End kernels on the board, by their ids. Raises KernelsStay."""
        said = self.ask("stop", kernels=kernels)
        if "error" in said:
            raise errors.KernelsStay(host=self.target.name, detail=said["error"])

    def find_agents(self) -> list[AgentEndpoint]:
        """Reach the board anew and return the agents that run there now.

        Raises the errors of reaching a board.
        """
        board = self.reconnect()
        try:
            board.prepare()
            return [_agent(agent) for agent in board.ask("find_agents")["agents"]]
        finally:
            board.close()

    def end_session(self) -> None:
        """End the bootstrap session; the link stays. Nothing of rpyc is left on the board."""
        self.session.close()

    def purge(self) -> None:
        """End all that runs there of ours, and remove it. Raises KernelsStay or CacheUnusable."""
        said = self.ask("purge")
        if "path" in said:
            raise errors.CacheUnusable(path=said["path"], detail=said["error"])
        if "error" in said:
            raise errors.KernelsStay(host=self.target.name, detail=said["error"])

    def ask(self, name: str, /, **arguments: object) -> dict[str, Any]:
        """Call a function of our code on the board."""
        return dict(self.session.call("call", name, json.dumps(arguments)))

    def send(self, name: str, data: bytes, *arguments: str | int) -> dict[str, Any]:
        """Call a function of our code on the board that takes bytes, and then other arguments."""
        return dict(self.session.call("send", name, data, json.dumps(arguments)))


def unwritable(said: dict[str, Any]) -> errors.RkernelError:
    """Return the error for what the board says of its disk."""
    wrong = errors.NoSpace if said["error"] in _NO_SPACE else errors.CacheUnusable
    return wrong(
        path=escape_controls(str(said["path"])), detail=escape_controls(str(said["detail"]))
    )


def _agent(said: dict[str, Any]) -> AgentEndpoint:
    try:
        return AgentEndpoint(int(said["port"]), bytes.fromhex(said["token"]))
    except (KeyError, TypeError, ValueError) as error:
        raise errors.BoardMisbehaved(detail="an agent that makes no sense") from error


def _kernels(said: dict[str, Any]) -> list[KernelStatus] | None:
    """Return the kernels of an agent, as far as what is said of them makes sense."""
    try:
        if said["kernels"] is None:
            return None
        return [KernelStatus.read(_agent(said), about) for about in said["kernels"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise errors.BoardMisbehaved(detail="a list of kernels that makes no sense") from error


def _agent_error(said: dict[str, Any], bind: str) -> errors.RkernelError:
    if isinstance(said["error"], int):
        return errors.LinkPortTaken(port=bind.rpartition(":")[2], detail=said["detail"])
    if said["error"] == "no_home":
        return errors.CacheUnusable(path="a private folder", detail=said["detail"])
    return errors.AgentFailed(detail=_last_line(said["detail"]))


def _last_line(text: str) -> str:
    """Return the line of a traceback, or of another complaint, that says what is wrong."""
    return text.strip().rpartition("\n")[2] or "it said nothing"
