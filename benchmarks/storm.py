"""A network that is cut in one way after the other, as a seed has it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.support.network import Network

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
class Storm:
    """Cuts of random kinds, one after the other, while its block runs; then all is restored.

    Parameters: networks; random, which decides all of it.
    """

    networks: list[Network]
    random: Random
    cuts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._deck: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storm")

    def __enter__(self) -> Storm:
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
            self.cuts[kind] += 1
            self._over.wait(seconds)
            for network in hit:
                ENDS.get(kind, Network.restore)(network)
