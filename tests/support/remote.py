"""This machine as a board that is reached over a real sshd, through a network that can be bad."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import boards, ssh_settings, sshd
from tests.support.boards import Board
from tests.support.network import Network


@dataclass(frozen=True, kw_only=True)
class Remote(Board):
    """A board, the network to it, and the sshd there."""

    network: Network
    server: sshd.Server

    @property
    def key(self) -> Path:
        """The file of the private key that it lets in."""
        return Path(self.environment["HOME"], ".ssh", "id_ed25519")

    def add_name(self, name: str, port: int) -> None:
        """Have ssh here know it by a name, through a port that leads to its sshd."""
        ssh_settings.add_host(
            Path(self.environment["HOME"]),
            name,
            port,
            user=sshd.local_user(),
            key=self.key,
            host_keys=self.server.public_keys,
        )


@contextmanager
def remote() -> Iterator[Remote]:
    """Give such a board, with homes of its own at both ends."""
    with boards.local() as board:
        there = ("HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "IPYTHONDIR")
        variables = " ".join(f"{name}={board.environment[name]}" for name in there)
        with (
            sshd.openssh(f"SetEnv {variables} PATH={os.environ['PATH']}") as server,
            Network("127.0.0.1", server.port) as network,
        ):
            found = Remote(
                **{
                    **vars(board),
                    "options": ("--via", "ssh", "--host", "pi", "--python", sys.executable),
                },
                network=network,
                server=server,
            )
            server.authorize(sshd.keygen(found.key))
            found.add_name("pi", network.port)
            yield found
