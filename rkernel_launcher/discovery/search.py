"""The search: all sources side by side, then a look at every host that one of them has seen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network, ip_address
from typing import TYPE_CHECKING, NamedTuple

from ..target import Target
from . import adb, known, mdns, networks, probe, scan, usb
from .background import in_thread
from .sightings import SSH_PORT, Answer, Found, Outcome, Sighting, by_address, join

if TYPE_CHECKING:
    from zeroconf import Zeroconf

MAC = "MAC"  # the source for whom the MAC address tells
SOURCE_SECONDS = 3.0  # for a source other than the scan, which has its own limit


class Findings(NamedTuple):
    """What a search gives.

    Attributes:
        found: The boards, in the order of their addresses; then adb's devices.
        tried: What each source did, in words.
        scannable: The networks that a scan covers, or would have covered.
    """

    found: tuple[Found, ...]
    tried: tuple[str, ...]
    scannable: tuple[IPv4Network, ...]


def search(with_scan: bool, added: Mapping[str, Target]) -> Findings:
    """Search for boards in the networks that this PC is in, and at its cables.

    It takes less than 5 seconds, also with a scan of one network.

    Args:
        with_scan: Whether to try the ports of all hosts of these networks, too.
        added: The targets that the person has added, by their names.
    """
    return asyncio.run(_search(with_scan, added))


async def _search(with_scan: bool, added: Mapping[str, Target]) -> Findings:
    own = networks.interfaces()
    async with mdns.asker(own) as zeroconf:
        outcomes, places = await asyncio.gather(
            _look(zeroconf, own, with_scan), known.places(added)
        )
        seen = by_address(each for outcome in outcomes for each in outcome.sightings)
        seen = {host: all_ for host, all_ in seen.items() if networks.is_near(host, own)}
        nameless = [address for address, all_ in seen.items() if not any(s.name for s in all_)]
        names, answers = await asyncio.gather(
            mdns.reverse(zeroconf, nameless, mdns.REVERSE_SECONDS), _ask(seen, outcomes)
        )
    for each in _raspberry_pis():  # this PC knows more neighbours than before
        if each.address in seen:
            seen[each.address].insert(0, each)
    rows = (join(all_, answers[address], names.get(address, "")) for address, all_ in seen.items())
    found = sorted((row for row in rows if row), key=lambda row: ip_address(row.address))
    found += [device for outcome in outcomes for device in outcome.found]
    found = [replace(row, added_as=known.names_at(row.address, places)) for row in found]
    tried = tuple(outcome.tried for outcome in outcomes if outcome.tried)
    return Findings(tuple(found), tried, tuple(networks.scannable(own)))


async def _ask(
    seen: Mapping[str, list[Sighting]], outcomes: Iterable[Outcome]
) -> dict[str, Answer]:
    """Return what answers at the hosts: ask those that no source has asked already."""
    answers = {host: answer for each in outcomes for host, answer in each.answers.items()}
    ports = {host: {each.ssh_port for each in all_} for host, all_ in seen.items()}
    left = [host for host in seen if host not in answers or ports[host] != {SSH_PORT}]
    turn = asyncio.Semaphore(scan.AT_ONCE)  # somebody may publish more hosts than we have sockets

    async def ask(host: str) -> Answer:
        async with turn:
            return await probe.ask(host, ports[host])

    return answers | dict(zip(left, await asyncio.gather(*map(ask, left)), strict=True))


async def _look(
    zeroconf: Zeroconf | None, own: list[IPv4Interface], with_scan: bool
) -> list[Outcome]:
    """Let all sources look."""
    neighbours = networks.neighbours()
    sources = [
        _limited("mDNS", mdns.look(zeroconf, neighbours)),
        _limited("adb", in_thread(adb.look)),
    ]
    if with_scan:
        sources.append(scan.look(own))
    by_mac = Outcome(tuple(_raspberry_pis()), "")
    return [by_mac, *await asyncio.gather(*sources), usb.look(own)]  # the surest models first


async def _limited(name: str, source: Awaitable[Outcome]) -> Outcome:
    try:
        return await asyncio.wait_for(source, SOURCE_SECONDS)
    except (OSError, asyncio.TimeoutError) as error:
        return Outcome((), f"{name}: {str(error) or 'no answer in time'}")


def _raspberry_pis() -> list[Sighting]:
    """Return the neighbours of this PC that have a Raspberry Pi's MAC address."""
    return [
        Sighting(address, MAC, model=model, is_board=True)
        for address, mac in networks.neighbours().items()
        if (model := networks.model_of(mac))
    ]
