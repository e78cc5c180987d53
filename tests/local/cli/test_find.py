"""`rkernel find`, `rkernel add` without a host, and which boards answer, in own networks."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support import avahi, namespaces, sshd
from tests.support.boards import Board
from tests.support.commands import LIMIT, Run, argv
from tests.support.namespaces import Namespace

SECONDS = 5.0  # that a search may take


@dataclass(frozen=True)
class Lan:
    """A PC and a board, each in a network of its own, and the cable between them.

    What the tests run at the PC is `rkernel`; at the board, services.
    """

    pc: Namespace
    board: Namespace

    def rkernel(self, *arguments: str) -> Run:
        return subprocess.run(
            self.pc.within(*argv(*arguments)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )

    def found(self, *options: str) -> list[dict[str, Any]]:
        start = time.monotonic()
        run = self.rkernel("find", "--json", *options)
        seconds = time.monotonic() - start
        assert run.returncode == 0, run.stderr
        assert seconds < SECONDS, f"the search took {seconds:.1f} s"
        return list(json.loads(run.stdout))


@contextmanager
def lan(pc: str = "192.168.43.2/24", board: str = "192.168.43.44/24") -> Iterator[Lan]:
    with namespaces.network() as one, namespaces.network() as other:
        namespaces.join(one, other, (pc, board))
        yield Lan(one, other)


@contextmanager
def ssh(network: Namespace, port: int = 22) -> Iterator[None]:
    """Run a real sshd at a port of a network."""
    with sshd.openssh() as server, namespaces.listening(network, port, *server.argv):
        yield


def test_a_host_that_publishes_its_ssh(home: Board) -> None:
    services = [("_ssh._tcp", 2222, ""), ("_device-info._tcp", 9, "model=Banana \x1b[31mPi")]
    with lan() as net, ssh(net.board, 2222):
        with avahi.published(net.board, home.folder / "avahi", "banana", *services[:1]):
            (row,) = net.found()
    assert row == {
        "address": "192.168.43.44",
        "name": "banana.local",
        "model": "",
        "system": "Debian",
        "ways": {"ssh": 2222},
        "trouble": "",
        "found_by": ["mDNS"],
        "added_as": [],
    }
