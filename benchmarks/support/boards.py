"""The boards that are measured: emulated ones, and this machine behind a real sshd."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rkernel_launcher.target import AGENT_PORT
from tests.support.armv7l import Armv7l, booted
from tests.support.boards import Board
from tests.support.emulator.image import SUITES
from tests.support.emulator.machine import RPYC_PORT, SSH_PORT
from tests.support.network import Network
from tests.support.remote import Remote, remote

KINDS = ("local", *SUITES)
MEMORY = 512  # MB, of an emulated board

SSH_OPTIONS = """\
 IdentitiesOnly yes
 UserKnownHostsFile {home}/.ssh/known_hosts
 GlobalKnownHostsFile /dev/null
 StrictHostKeyChecking yes
 BatchMode yes
"""
SSHPYK_OPTIONS = """\
 ControlMaster auto
 ControlPath {home}/%C
 ControlPersist 10m
"""


@dataclass(frozen=True, kw_only=True)
class Compared(Armv7l):
    """An emulated board as all launchers reach it: ssh knows it as `board`.

    `rpyc_port` of this PC leads to the board's rpyc service; `networks` are all that lies between,
    if it can be cut.
    """

    rpyc_port: int
    networks: tuple[Network, ...] = ()

    @property
    def ssh_config(self) -> Path:
        """The settings that ssh takes from the home, if it looks there."""
        return Path(self.environment["HOME"], ".ssh/config")


@contextmanager
def emulated(suite: str, memory: int) -> Iterator[Compared]:
    """Boot a board.

    Parameters: suite, of its Debian; memory, in MB.
    Raises: BoardFailure when it does not come up.
    """
    with booted(suite, memory) as board:
        ssh, rpyc = (board.machine.port(port) for port in (SSH_PORT, RPYC_PORT))
        yield _named(Compared(**vars(board), rpyc_port=rpyc), ssh)


@contextmanager
def fragile(suite: str, memory: int) -> Iterator[Compared]:
    """Boot a board as `emulated` does, behind networks that can be cut.

    The link over rpyc has the same port on both ends, so this needs that port of this PC.
    """
    with booted(suite, memory) as board, ExitStack() as stack:
        ssh, rpyc, link = (
            stack.enter_context(Network("127.0.0.1", board.machine.port(port), at=at))
            for port, at in ((SSH_PORT, 0), (RPYC_PORT, 0), (AGENT_PORT, AGENT_PORT))
        )
        facts = {**vars(board), "link_port": link.port}
        networks = ssh, rpyc, link
        yield _named(Compared(**facts, rpyc_port=rpyc.port, networks=networks), ssh.port)


@dataclass(frozen=True)
class Place:
    """A board, and networks to it: ssh knows it as names[i] behind networks[i]."""

    board: Board
    networks: list[Network]
    names: list[str]


@contextmanager
def behind_networks(
    kind: str, count: int, memory: int = MEMORY, counted: bool = False
) -> Iterator[Place]:
    """Give a board behind several networks; at the end nothing of ours runs there.

    Parameters: kind, one of KINDS; count, of networks; memory, in MB, of an emulated board;
    counted, whether its clock counts instructions.
    """
    with ExitStack() as stack:
        board: Remote | Armv7l
        options: tuple[str, ...] = ()
        if kind == "local":
            board = stack.enter_context(remote())
            port, options = board.server.port, ("--python", sys.executable)
        else:
            board = stack.enter_context(booted(kind, memory, counted))
            port = board.machine.port(SSH_PORT)
            stack.callback(board.end_agents)
        networks = [stack.enter_context(Network("127.0.0.1", port)) for _ in range(count)]
        names = [f"board-{number}" for number in range(count)]
        for name, network in zip(names, networks, strict=True):
            board.add_name(name, network.port)
        yield Place(replace(board, options=options), networks, names)


def _named(board: Compared, port: int) -> Compared:
    """Have ssh know a board by the names that launchers use."""
    options = SSH_OPTIONS.format(home=board.environment["HOME"])
    board.add_name("board", port, options)
    board.add_name(
        "sshpyk-board", port, options + SSHPYK_OPTIONS.format(home=board.environment["HOME"])
    )
    return board
