"""What a search finds: hosts that a source has seen, and the rows that become of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

SSH_PORT = 22


@dataclass(frozen=True)
class Sighting:
    """A host that one source has seen. What it says of itself is not to be trusted.

    Attributes:
        address: Its IPv4 address.
        source: Which source has seen it, for people.
        name: The name that it gives itself.
        model: What it seems to be.
        user: The account that such a board has from the beginning.
        ssh_port: Where its SSH server should listen.
        is_board: Whether it is a board, as far as address or name can tell, whatever answers there.
    """

    address: str
    source: str
    name: str = ""
    model: str = ""
    user: str = ""
    ssh_port: int = SSH_PORT
    is_board: bool = False


class Answer(NamedTuple):
    """What answers at a host.

    Attributes:
        ways: The ports of what answers, by the name that --via has for it.
        system: What the banner of the SSH server tells about the system.
        exists: Whether the host is there: it answers, or refuses.
    """

    ways: Mapping[str, int]
    system: str = ""
    exists: bool = True


@dataclass(frozen=True)
class Found:
    """A board that the search has found.

    Attributes:
        address: Its address, or `adb:` and the name of the device.
        name: The name that it gives itself; not to be trusted.
        model: What it seems to be; not to be trusted.
        system: What its SSH server tells about the system; not to be trusted.
        ways: The ways that lead there: for each name of --via the port, 0 for a device of adb.
        sources: What has seen it, for people.
        user: The account that such a board has from the beginning; empty if that is not known.
        trouble: Why no way leads there; empty if one does.
        added_as: The names of those targets of the person that lead there.
    """

    address: str
    name: str = ""
    model: str = ""
    system: str = ""
    ways: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    user: str = ""
    trouble: str = ""
    added_as: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What a source gives.

    Attributes:
        sightings: The hosts that it has seen.
        tried: What it did, in words that follow "rkernel tried:".
        found: Boards that need no further look.
        answers: What answers at those of the sighted hosts that were asked already.
    """

    sightings: tuple[Sighting, ...]
    tried: str
    found: tuple[Found, ...] = ()
    answers: Mapping[str, Answer] = {}


def by_address(sightings: Iterable[Sighting]) -> dict[str, list[Sighting]]:
    """Return the sightings of each address, in the order in which they came."""
    found: dict[str, list[Sighting]] = {}
    for each in sightings:
        found.setdefault(each.address, []).append(each)
    return found


def join(seen: list[Sighting], answer: Answer, name: str = "") -> Found | None:
    """Make one row of all that is known about an address.

    Args:
        seen: What the sources say about it; one sighting at least.
        answer: What answers there.
        name: Its name, if no source knows one.

    Returns:
        The row; None if this is no board, as far as we can tell: a host with neither ssh nor rpyc
        counts only if it looks like a board and exists.
    """
    if not answer.ways and not (answer.exists and any(each.is_board for each in seen)):
        return None
    return Found(
        address=seen[0].address,
        name=_first(each.name for each in seen) or name,
        model=_first(each.model for each in seen),
        system=answer.system,
        ways=answer.ways,
        sources=tuple(dict.fromkeys(each.source for each in seen)),
        user=_first(each.user for each in seen),
        trouble="" if answer.ways else "neither ssh nor rpyc answers",
    )


def _first(texts: Iterable[str]) -> str:
    return next(filter(None, texts), "")
