"""A PC and a board in networks of their own, and a cable between them: no packet leaves the two."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support import namespaces
from tests.support.commands import Run, at_terminal, rkernel
from tests.support.namespaces import Namespace

PC, BOARD = "192.168.43.2", "192.168.43.44"
SECONDS = 4.5  # that a search may take: a command of 5 s has to start, too


@dataclass(frozen=True)
class Lan:
    """A PC and a board, each in a network of its own."""

    pc: Namespace
    board: Namespace

    def rkernel(self, *arguments: str) -> Run:
        return rkernel(*arguments, network=self.pc)

    def at_terminal(self, answers: list[str], *arguments: str) -> Run:
        return at_terminal(answers, *arguments, network=self.pc)

    def find(self, *options: str) -> Run:
        """Run `rkernel find`, and check how long it says that it has searched."""
        run = self.rkernel("find", *options)
        assert run.returncode == 0, run.stderr
        for seconds in re.findall(r"Searching for boards … ([0-9.]+) s", run.stdout):
            assert float(seconds) < SECONDS, run.stdout
        return run

    def found(self, *options: str) -> list[dict[str, Any]]:
        return list(json.loads(self.find("--json", *options).stdout))


@contextmanager
def lan(pc: str = PC, *board: str, bits: int = 24, mac: str = "") -> Iterator[Lan]:
    with namespaces.network() as one, namespaces.network() as other:
        there = (f"{each}/{bits}" for each in board or (BOARD,))
        namespaces.join(one, other, f"{pc}/{bits}", *there, mac=mac)
        yield Lan(one, other)
