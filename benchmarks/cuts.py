"""What happens to the network between a PC and a board, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.network import Network

from . import processes
from .kernels import Kernel
from .peers import Failed

IN_THE_MIDDLE = 60  # lines of a cell that have come when it is cut
BEFORE_THE_END = 300


class Spared(Failed):
    """There is nothing to cut."""


@dataclass(frozen=True)
class Cut:
    """A cut: how it begins, once `line` lines have come, and ends so many seconds later.

    `instant` tells that the network is never gone; what was under way comes within the seconds.
    """

    name: str
    title: str
    seconds: float
    begin: Callable[[Kernel], None]
    end: Callable[[Kernel], None]
    line: int = IN_THE_MIDDLE
    instant: bool = False


def of_network(
    name: str,
    title: str,
    seconds: float,
    begin: Callable[[Network], None],
    end: Callable[[Network], None] = Network.restore,
    line: int = IN_THE_MIDDLE,
) -> Cut:
    """Return a cut of all that leads to the board."""

    def all_of_them(action: Callable[[Network], None]) -> Callable[[Kernel], None]:
        def act(kernel: Kernel) -> None:
            for network in kernel.site.networks:
                action(network)

        return act

    return Cut(name, title, seconds, all_of_them(begin), all_of_them(end), line)


def forget(network: Network) -> None:
    """Restore a network, its connections half-open."""
    network.restore(lost=True)


def kill_login(kernel: Kernel) -> None:
    """Kill the board's end of the ssh connections of a kernel. Raises Spared if there are none."""
    running = processes.on_board(kernel.site.machine).items()
    pids = [pid for pid, p in running if p.name.startswith("sshd") and pid not in kernel.others]
    if not pids:
        raise Spared("no ssh")
    kernel.site.machine.run(f"kill -9 {' '.join(map(str, pids))}")


def nothing(kernel: Kernel) -> None:
    """Restore what was never gone."""


CUTS = [
    of_network("drop", "dropped for 5 s", 5.0, Network.reset),
    of_network("long-drop", "dropped for 30 s", 30.0, Network.reset),
    of_network(
        "end", "dropped for 10 s across the cell's end", 10.0, Network.reset, line=BEFORE_THE_END
    ),
    of_network("hole", "black hole for 5 s", 5.0, Network.hole),
    of_network("long-hole", "black hole for 30 s", 30.0, Network.hole),
    of_network("half-open", "black hole for 5 s, then half-open", 5.0, Network.hole, forget),
    Cut("sshd", "`kill -9` of the board's sshd process", 0.5, kill_login, nothing, instant=True),
]
LONG = [of_network("longest-drop", "dropped for 5 min", 300.0, Network.reset)]
