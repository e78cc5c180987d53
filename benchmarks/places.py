"""Boards to work on for long: this machine behind a real sshd, or an emulated one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.boards import Board, environment
from tests.support.emulator.image import SUITES
from tests.support.emulator.machine import SSH_PORT, Machine
from tests.support.network import Network
from tests.support.sshd import keygen, local_user, openssh

KINDS = ("local", *SUITES)
MEMORY = 512  # MB, of an emulated board

_SSH_CONFIG = """\
Host {name}
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {key}
"""


@dataclass(frozen=True)
class Login:
    """How ssh logs in to a board, and what else differs between boards; see tests.boards.Board."""

    port: int
    user: str
    key: Path
    host_keys: list[str]
    options: tuple[str, ...]
    shell: Callable[[str], str]
    runtime: str
    mark: str = ""
    slowness: float = 1.0


@dataclass(frozen=True)
class Place:
    """A board, and networks to it: ssh knows it as NAMES[i] behind networks[i]."""

    board: Board
    networks: list[Network]
    names: list[str]


@contextmanager
def place(kind: str, count: int, memory: int = MEMORY, counted: bool = False) -> Iterator[Place]:
    """Give a board behind several networks; at the end nothing of ours runs there.

    Parameters: kind, one of KINDS; count, of networks; memory, in MB, of an emulated board;
    counted, whether its clock counts instructions.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp")))
        there = _local(folder) if kind == "local" else _emulated(kind, memory, counted)
        login = stack.enter_context(there)
        networks = [stack.enter_context(Network("127.0.0.1", login.port)) for _ in range(count)]
        names = [f"board-{number}" for number in range(count)]
        board = Board(
            options=login.options,
            folder=folder,
            environment=environment(folder),
            shell=login.shell,
            runtime=login.runtime,
            mark=login.mark,
            slowness=login.slowness,
        )
        _settle(Path(board.environment["HOME"], ".ssh"), login, networks, names)
        stack.callback(board.end_agents)
        yield Place(board, networks, names)


def pss(board: Board, pids: set[int]) -> list[float]:
    """Return the proportional set sizes of processes of a board, in MB, see proc(5)."""
    files = " ".join(f"/proc/{pid}/smaps_rollup" for pid in pids)
    sizes = board.shell(f"cat {files} /dev/null 2>/dev/null | grep ^Pss: || true").splitlines()
    return [int(line.split()[1]) / 1024 for line in sizes]


@contextmanager
def _local(folder: Path) -> Iterator[Login]:
    home, run, key = folder / "there", folder / "there/run", folder / "key"
    for new in (home, run):
        new.mkdir(mode=0o700)
    mark = f"XDG_RUNTIME_DIR={run}"
    public = keygen(key)
    with openssh(f"SetEnv HOME={home} {mark}") as server:
        server.authorize(public)
        options = "--python", sys.executable
        keys = server.public_keys
        yield Login(server.port, local_user(), key, keys, options, _shell, str(run), mark)


@contextmanager
def _emulated(suite: str, memory: int, counted: bool) -> Iterator[Login]:
    with Machine(suite, memory=memory, counted=counted) as machine:
        entries = machine.known_hosts.read_text().splitlines()
        yield Login(
            port=machine.port(SSH_PORT),
            user="root",
            key=machine.key,
            host_keys=[entry.partition(" ")[2] for entry in entries],
            options=(),
            shell=machine.run,
            runtime="/tmp/rkernel-0",
            slowness=4.0,
        )


def _settle(settings: Path, login: Login, networks: list[Network], names: list[str]) -> None:
    settings.mkdir(mode=0o700)
    known, config = "", ""
    for network, name in zip(networks, names, strict=True):
        known += "".join(f"[127.0.0.1]:{network.port} {key}\n" for key in login.host_keys)
        config += _SSH_CONFIG.format(name=name, port=network.port, user=login.user, key=login.key)
    (settings / "known_hosts").write_text(known)
    (settings / "config").write_text(config)


def _shell(command: str) -> str:
    run = subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=60)
    return run.stdout.decode("utf-8", "replace")
