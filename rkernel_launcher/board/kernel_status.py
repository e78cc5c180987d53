"""A kernel on a board, as its agent describes it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .agent_endpoint import AgentEndpoint
from .answers import Kernel


@dataclass(frozen=True)
class KernelStatus:
    """A kernel: its agent, and what a person wants to know.

    `age`, and `away` of its launcher, or None if that is connected, are in seconds, and so is
    `lease`, how long it waits for one; `memory` is in bytes, or None if not known.
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
    def of(cls, agent: AgentEndpoint, said: Kernel) -> KernelStatus:
        """Return what an agent says of a kernel."""
        return cls(
            agent=agent,
            id=said.kernel,
            pid=said.pid,
            owner=said.owner,
            state=said.state,
            age=said.age,
            memory=said.memory,
            away=said.away,
            lease=math.inf if said.lease is None else said.lease,
        )

    @property
    def left(self) -> float:
        """The seconds until it ends if nobody comes; infinite if it does not."""
        return math.inf if self.away is None else max(0.0, self.lease - self.away)
