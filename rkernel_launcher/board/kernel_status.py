"""A kernel on a board, as its agent describes it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import NoKernel
from .agent_endpoint import AgentEndpoint
from .answers import Kernel


@dataclass(frozen=True)
class KernelStatus:
    """A kernel: its agent, and what a person wants to know.

    Attributes:
        agent: Where its agent listens.
        id: What `rkernel ps` calls it, in hexadecimal digits.
        pid: Its process on the board.
        owner: Who started it, as "user@host".
        state: "starting", "ending", or the last state that it published: "busy" or "idle".
        age: The seconds since its start.
        memory: The memory that it takes, in bytes; None if the board does not know.
        away: The seconds since its launcher left; None if that is connected.
        lease: How many seconds it waits for a launcher; infinite for ever.
    """

    agent: AgentEndpoint
    id: str
    pid: int
    owner: str
    state: str
    age: float
    memory: int | None
    away: float | None
    lease: float

    @classmethod
    def of(cls, agent: AgentEndpoint, reply: Kernel) -> KernelStatus:
        """Return what an agent says about one of its kernels."""
        return cls(
            agent=agent,
            id=reply.kernel,
            pid=reply.pid,
            owner=reply.owner,
            state=reply.state,
            age=reply.age,
            memory=reply.memory,
            away=reply.away,
            lease=math.inf if reply.lease is None else reply.lease,
        )

    @property
    def left(self) -> float:
        """The seconds until it ends if no launcher comes; infinite if it does not end."""
        return math.inf if self.away is None else max(0.0, self.lease - self.away)


def pick(found: list[KernelStatus], beginning: str, host: str) -> KernelStatus:
    """Return the one kernel whose id begins with what the user typed.

    Args:
        found: The kernels on the board.
        beginning: What the user typed.
        host: The board's name, for people.

    Raises:
        NoKernel: No id begins like that, or several do.
    """
    fitting = [kernel for kernel in found if kernel.id.startswith(beginning)]
    if len(fitting) != 1:
        raise NoKernel(kernel=beginning, host=host)
    return fitting[0]
