"""The emulated armv7l boards as tests use them, each with a home of its own on this machine."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import commands
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
def booted(suite: str, memory: int = 256) -> Iterator[Armv7l]:
    """Boot a board, and give it a user on this machine who has its key and knows its host key.

    Parameters: suite, one of image.SUITES; memory, in MB.
    """
    ports = unused_port(), unused_port()
    with (
        tempfile.TemporaryDirectory(prefix="rk-", dir="/tmp") as name,
        Machine(suite, memory=memory, ports=ports) as machine,
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
        settings = Path(board.environment["HOME"], ".ssh")
        settings.mkdir(mode=0o700)
        (settings / "known_hosts").write_text(machine.known_hosts.read_text())
        where = f"HostName 127.0.0.1\n Port {machine.port(SSH_PORT)}"
        (settings / "config").write_text(
            f"Host {suite}\n {where}\n User root\n IdentityFile {machine.key}\n"
        )
        yield board


@contextmanager
def leading_to(board: Armv7l) -> Iterator[Network]:
    """Put a network before a board's sshd; the ssh settings here know it as `far` meanwhile."""
    settings = Path(board.environment["HOME"], ".ssh")
    before = {name: (settings / name).read_text() for name in ("known_hosts", "config")}
    try:
        with Network("127.0.0.1", board.machine.port(SSH_PORT)) as network:
            keys = board.machine.known_hosts.read_text().splitlines()
            with (settings / "known_hosts").open("a") as file:
                for line in keys:
                    file.write(f"[127.0.0.1]:{network.port} {line.partition(' ')[2]}\n")
            with (settings / "config").open("a") as file:
                file.write(
                    f"Host far\n HostName 127.0.0.1\n Port {network.port}\n User root\n"
                    f" IdentityFile {board.machine.key}\n"
                )
            yield network
    finally:
        for name, text in before.items():
            (settings / name).write_text(text)
