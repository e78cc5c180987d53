"""This machine as a board that is reached over a real sshd, through a network that can be bad."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import boards, sshd
from tests.support.boards import Board
from tests.support.network import Network


@dataclass(frozen=True, kw_only=True)
class Remote(Board):
    """A board, the network to it, and the sshd there."""

    network: Network
    server: sshd.Server


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
            settings = Path(board.environment["HOME"], ".ssh")
            settings.mkdir(mode=0o700)
            server.authorize(sshd.keygen(settings / "id_ed25519"))
            keys = "".join(f"[127.0.0.1]:{network.port} {key}\n" for key in server.public_keys)
            (settings / "known_hosts").write_text(keys)
            (settings / "config").write_text(
                f"Host pi\n HostName 127.0.0.1\n Port {network.port}\n User {sshd.local_user()}\n"
            )
            yield Remote(
                **{
                    **vars(board),
                    "options": ("--via", "ssh", "--host", "pi", "--python", sys.executable),
                },
                network=network,
                server=server,
            )
