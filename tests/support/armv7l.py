"""The emulated armv7l boards as tests use them, each with a home of its own on this machine."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import commands, ssh_settings
from tests.support.boards import Board, environment
from tests.support.emulator.machine import SSH_PORT, Machine
from tests.support.network import Network
from tests.support.ports import unused_port


@dataclass(frozen=True, kw_only=True)
class Armv7l(Board):
    """An emulated board, which the ssh settings of its home here know by the suite's name.

    `link_port` is one that leads to the board by the same number, for a link beside ssh, and
    `dropbear_port` is another.
    """

    suite: str
    machine: Machine
    link_port: int
    dropbear_port: int

    def add_name(self, name: str, port: int, more: str = "") -> None:
        """Have ssh here know it by a name, through a port that leads to its sshd."""
        ssh_settings.add_host(
            Path(self.environment["HOME"]),
            name,
            port,
            user="root",
            key=self.machine.key,
            host_keys=self.machine.host_keys,
            more=more,
        )

    def rkernel(self, *arguments: str) -> commands.Run:
        """Run `rkernel` on this machine as its user does, where there is no terminal."""
        return subprocess.run(
            commands.argv(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=self.limit,
        )


@contextmanager
def booted(suite: str, memory: int = 256, counted: bool = False) -> Iterator[Armv7l]:
    """Boot a board, and give it a user on this machine who has its key and knows its host key.

    Parameters: suite, one of image.SUITES; memory, in MB; counted, see Machine.
    """
    ports = unused_port(), unused_port()
    with (
        tempfile.TemporaryDirectory(prefix="rk-", dir="/tmp") as name,
        Machine(suite, memory=memory, ports=ports, counted=counted) as machine,
    ):
        folder = Path(name)
        board = Armv7l(
            options=("--via", "ssh", "--host", suite),
            folder=folder,
            environment=environment(folder),
            shell=machine.run,
            runtime="/tmp/rkernel-0",
            slowness=4.0,
            suite=suite,
            machine=machine,
            link_port=ports[0],
            dropbear_port=ports[1],
        )
        board.add_name(suite, machine.port(SSH_PORT))
        yield board


@contextmanager
def leading_to(board: Armv7l) -> Iterator[Network]:
    """Put a network before a board's sshd; the ssh settings here know it as `far` meanwhile."""
    settings = Path(board.environment["HOME"], ".ssh")
    before = {name: (settings / name).read_text() for name in ("known_hosts", "config")}
    try:
        with Network("127.0.0.1", board.machine.port(SSH_PORT)) as network:
            board.add_name("far", network.port)
            yield network
    finally:
        for name, text in before.items():
            (settings / name).write_text(text)
