"""A scan: try the ports of boards at every address of the networks that this PC is in."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Interface

from . import probe
from .networks import scannable
from .sightings import Answer, Outcome, Sighting

SOURCE = "scan"
AT_ONCE = 64  # hosts
SECONDS = 0.6  # for one host: longer than a WiFi card that saves power sleeps


async def look(own: list[IPv4Interface]) -> Outcome:
    """Return the hosts where something listens at a port that boards use.

    Args:
        own: What `networks.interfaces` returned.
    """
    networks = scannable(own)
    mine = {each.ip for each in own}
    hosts = [str(host) for part in networks for host in part.hosts() if host not in mine]
    turn = asyncio.Semaphore(AT_ONCE)

    async def knock(address: str) -> Answer | None:
        async with turn:
            ports = [probe.is_open(address, port, SECONDS) for port in probe.PORTS]
            is_up = any(await asyncio.gather(*ports))
        return await probe.ask(address) if is_up else None

    knocked = zip(hosts, await asyncio.gather(*map(knock, hosts)), strict=True)
    answers = {host: answer for host, answer in knocked if answer}
    seen = tuple(Sighting(host, SOURCE) for host in answers)
    places = ", ".join(map(str, networks)) or "this PC is in no private network"
    ports = ", ".join(map(str, probe.PORTS))
    return Outcome(seen, f"a scan of the ports {ports}: {places}", answers=answers)
