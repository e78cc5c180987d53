"""A kernel on a board, as its agent describes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..sanitize import escape_controls
from .agent_endpoint import AgentEndpoint


@dataclass(frozen=True)
class KernelStatus:
    """A kernel: its agent, and what a person wants to know.

    `age`, and `away` of its launcher, or None if that is connected, are in seconds; `lease`,
    how long it waits for one, too, or None for ever; `memory` is in bytes, or None if not known.
    """

    agent: AgentEndpoint
    id: str
    pid: int
    owner: str
    state: str
    age: float
    memory: int | None
    away: float | None
    lease: float | None

    @classmethod
    def read(cls, agent: AgentEndpoint, about: dict[str, Any]) -> KernelStatus:
        """Return what an agent says of a kernel. Raises TypeError, ValueError, KeyError
        or OverflowError.
        """

        def number(name: str) -> float | None:
            return None if about[name] is None else float(about[name])

        memory = number("memory")
        if not re.fullmatch("[0-9a-f]{1,32}", about["kernel"]):
            raise ValueError("a kernel's id that is none")
        return cls(
            agent=agent,
            id=about["kernel"],
            pid=int(about["pid"]),
            owner=escape_controls(str(about["owner"])),
            state=escape_controls(str(about["state"])),
            age=float(about["age"]),
            memory=None if memory is None else int(memory),
            away=number("away"),
            lease=number("lease"),
        )

    @property
    def left(self) -> float | None:
        """The seconds until it ends if nobody comes; None if it does not."""
        if self.away is None or self.lease is None:
            return None
        return max(0.0, self.lease - self.away)
