"""Sessions over streams that a program hands over to an agent, as over ssh."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

from tests.support import boards
from tests.support.agents import LIMIT, Agent, Session

PROGRAM = (boards.ROOT / "board_agent" / "bootstrap" / "handover.py").read_text()


def handed_over(
    agent: Agent, source: str = PROGRAM, python: str = sys.executable, pipes: bool = False
) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a program that hands its stdin and stdout over to an agent.

    Args:
        agent: The agent.
        source: What the program runs.
        python: What runs it.
        pipes: Whether two pipes lead to it, as sshd makes them, in place of a pair of sockets.

    Returns:
        The other end of both, and the program.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(LIMIT)
    call = f"\nmain('# ', {str(agent.folder / 'link')!r})"
    words = [python, "-I", "-S", "-c", source + call]
    if pipes:
        words = ["sh", "-c", 'cat | "$@" | cat', "sh", *words]
    with theirs:
        program = subprocess.Popen(words, stdin=theirs, stdout=theirs)
    said = b""
    while not said.endswith(b"\n"):
        said += ours.recv(1)
    assert said == b'# {"handed": true}\n', said
    return ours, program


class HandedOver(Session):
    """A session over such a program's stream.

    Args:
        agent: The agent.
        **options: As for `handed_over`.
    """

    def __init__(self, agent: Agent, **options: Any) -> None:
        self._options = options
        self.programs: list[subprocess.Popen[bytes]] = []
        super().__init__(agent)

    def dial(self) -> socket.socket:
        sock, program = handed_over(self.agent, **self._options)
        self.programs.append(program)
        return sock

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        for program in self.programs:
            try:
                program.wait(LIMIT)
            finally:
                program.kill()
