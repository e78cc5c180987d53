"""Where it all happens: an emulated board, and a PC's home that is thrown away afterwards."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.emulator.machine import SSH_PORT, Machine

ROOT = Path(__file__).parent.parent

_SSH_CONFIG = """\
Host board sshpyk-board
  HostName 127.0.0.1
  Port {port}
  User root
  IdentityFile {key}
  IdentitiesOnly yes
  UserKnownHostsFile {known_hosts}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
Host sshpyk-board
  ControlMaster auto
  ControlPath {folder}/%C
  ControlPersist 10m
"""


@dataclass(frozen=True)
class Site:
    """A board, and what programs on this PC need to reach it as `board`.

    `folder` is theirs to write to, `environment` has it as their home; `link_port` of the board is
    the same here.
    """

    machine: Machine
    folder: Path
    environment: dict[str, str]
    link_port: int

    @property
    def ssh_config(self) -> Path:
        """The settings that ssh takes from the home, if it looks there."""
        return self.folder / ".ssh/config"


@contextmanager
def site(suite: str, memory: int) -> Iterator[Site]:
    """Boot a board and make a home for it.

    Parameters: suite, of the board's Debian; memory, in MB.
    Raises: BoardFailure when the board does not come up.
    """
    port = _free_port()
    with (
        Machine(suite, memory=memory, ports=[port]) as machine,
        tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as name,  # sockets: short paths
    ):
        folder = Path(name)
        found = Site(machine, folder, _environment(folder), port)
        found.ssh_config.parent.mkdir(mode=0o700)
        found.ssh_config.write_text(
            _SSH_CONFIG.format(
                port=machine.port(SSH_PORT),
                key=machine.key,
                known_hosts=machine.known_hosts,
                folder=folder,
            )
        )
        yield found


def _environment(folder: Path) -> dict[str, str]:
    """Return a frontend's environment in which nothing outside `folder` is read or kept."""
    ours = ("JUPYTER", "JPY_", "IPYTHON", "SSH_", "XDG_")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
        "HOME": str(folder),
        "JPY_PARENT_PID": str(os.getpid()),  # as jupyter_client does
        "JUPYTER_CONFIG_DIR": f"{folder}/config",
        "JUPYTER_DATA_DIR": f"{folder}/data",
        "JUPYTER_RUNTIME_DIR": f"{folder}/runtime",
        "PYTHONPATH": str(ROOT),
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
