"""What the user says about a board: how to reach it and how to run a kernel there."""

from __future__ import annotations

from dataclasses import dataclass, field

AGENT_PORT = 18813
RPYC_PORT = 18812


@dataclass(frozen=True)
class Target:
    """Where a board is, and how a kernel is to run on it.

    Everything here can be written to a kernelspec: it holds no secret.
    """

    host: str = ""
    user: str | None = None
    port: int | None = None
    via: str = "auto"
    identity: str | None = None
    jump: str | None = None
    python: str | None = None
    workdir: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    link_port: int = AGENT_PORT
    keep_alive: str = "1h"
    debugger: bool = False
    link_timeout: float = 15.0
