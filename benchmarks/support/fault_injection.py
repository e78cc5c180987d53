"""What happens to the network between a PC and a board: chosen cuts, and random ones."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.support.network import Network

from . import processes
from .kernels import Kernel
from .other_launchers import Failed

IN_THE_MIDDLE = 60  # lines of a cell that have come when it is cut
BEFORE_THE_END = 300

SHORT_SECONDS = 0.3, 3.0
LONG_SECONDS = 3.0, 15.0  # beyond what a launcher waits before it gives up a silent link
LONG_SHARE = 0.2
FAIR_SECONDS = 0.5, 3.0  # between two cuts
ALL_SHARE = 0.3  # of the cuts hit all networks, the others one


def _slow(network: Network, random: Random) -> None:
    network.slow(random.uniform(20e3, 200e3), random.uniform(0.02, 0.3))


def _one_way(network: Network, random: Random) -> None:
    up = random.random() < 0.5
    network.hole(up=up, down=not up)


KINDS: dict[str, Callable[[Network, Random], None]] = {
    "dropped": lambda network, random: network.reset(),
    "reset once": lambda network, random: network.blip(),
    "black hole": lambda network, random: network.hole(),
    "one-way hole": _one_way,
    "slow": _slow,
    "half-open": lambda network, random: network.hole(),
    "half-open at both ends": lambda network, random: network.hole(),
}
ENDS: dict[str, Callable[[Network], None]] = {
    "half-open": lambda network: network.restore(lost=True),
    "half-open at both ends": lambda network: network.restore(lost=True, told=False),
}


@dataclass
class RandomCuts:
    """Cuts of random kinds, one after the other, while its block runs; then all is restored.

    Parameters: networks; random, which decides all of it.
    """

    networks: list[Network]
    random: Random
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._deck: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cuts")

    def __enter__(self) -> RandomCuts:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _next(self) -> str:
        """Return a kind; none comes again before all have come."""
        if not self._deck:
            self._deck = self.random.sample(list(KINDS), len(KINDS))
        return self._deck.pop()

    def _run(self) -> None:
        while not self._over.wait(self.random.uniform(*FAIR_SECONDS)):
            kind = self._next()
            everywhere = self.random.random() < ALL_SHARE
            hit = self.networks if everywhere else [self.random.choice(self.networks)]
            long = self.random.random() < LONG_SHARE
            seconds = self.random.uniform(*(LONG_SECONDS if long else SHORT_SECONDS))
            for network in hit:
                KINDS[kind](network, self.random)
            self.counts[kind] += 1
            self._over.wait(seconds)
            for network in hit:
                ENDS.get(kind, Network.restore)(network)


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
            for network in kernel.board.networks:
                action(network)

        return act

    return Cut(name, title, seconds, all_of_them(begin), all_of_them(end), line)


def forget(network: Network) -> None:
    """Restore a network, its connections half-open."""
    network.restore(lost=True)


def kill_login(kernel: Kernel) -> None:
    """Kill the board's end of the ssh connections of a kernel. Raises Spared if there are none."""
    running = processes.on_board(kernel.board.machine).items()
    pids = [pid for pid, p in running if p.name.startswith("sshd") and pid not in kernel.others]
    if not pids:
        raise Spared("no ssh")
    kernel.board.machine.run(f"kill -9 {' '.join(map(str, pids))}")


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
