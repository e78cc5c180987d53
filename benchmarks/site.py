"""Where it all happens: an emulated board, and a PC's home that is thrown away afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rkernel_launcher.target import AGENT_PORT
from tests.support.emulator.machine import RPYC_PORT, SSH_PORT, Machine
from tests.support.network import Network
from tests.support.ports import unused_port

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

    `folder` is theirs to write to, `environment` has it as their home; `rpyc_port` of this PC leads
    to the board's rpyc service, `link_port` to the same port of the board; `networks` are all that
    lies between, if it can be cut.
    """

    machine: Machine
    folder: Path
    environment: dict[str, str]
    rpyc_port: int
    link_port: int
    networks: tuple[Network, ...] = ()

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
    port = unused_port()
    with Machine(suite, memory=memory, ports=[port]) as machine, _home() as folder:
        _settle(folder, machine, machine.port(SSH_PORT))
        yield Site(machine, folder, _environment(folder), machine.port(RPYC_PORT), port)


@contextmanager
def fragile_site(suite: str, memory: int) -> Iterator[Site]:
    """Boot a board as `site` does, behind networks that can be cut.

    The link over rpyc has the same port on both ends, so this needs that port of this PC.
    """
    with Machine(suite, memory=memory) as machine, _home() as folder, ExitStack() as stack:
        ssh, rpyc, link = (
            stack.enter_context(Network("127.0.0.1", machine.port(port), at=at))
            for port, at in ((SSH_PORT, 0), (RPYC_PORT, 0), (AGENT_PORT, AGENT_PORT))
        )
        _settle(folder, machine, ssh.port)
        environment = _environment(folder)
        yield Site(machine, folder, environment, rpyc.port, link.port, (ssh, rpyc, link))


@contextmanager
def _home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as name:  # sockets: short paths
        yield Path(name)


def _settle(folder: Path, machine: Machine, ssh_port: int) -> None:
    """Write down how ssh reaches the board through a port of this PC, and its host keys."""
    settings = folder / ".ssh"
    settings.mkdir(mode=0o700)
    direct, ours = (f"[127.0.0.1]:{port} " for port in (machine.port(SSH_PORT), ssh_port))
    known_hosts = settings / "known_hosts"
    known_hosts.write_text(machine.known_hosts.read_text().replace(direct, ours))
    (settings / "config").write_text(
        _SSH_CONFIG.format(port=ssh_port, key=machine.key, known_hosts=known_hosts, folder=folder)
    )


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
