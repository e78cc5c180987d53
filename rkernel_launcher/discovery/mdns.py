"""Hosts that publish themselves by mDNS, and names that we ask for.

Raspberry Pi OS has published no service since October 2023, but it answers for its name, and to a
reverse question. Source: RFC 6762 and 6763.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, NamedTuple

from .sightings import SSH_PORT, Outcome, Sighting

if TYPE_CHECKING:
    from zeroconf import DNSRecord, Zeroconf  # type: ignore[attr-defined]

SOURCE = "mDNS"
SECONDS = 2.0  # for hosts to answer
SERVICE_SECONDS = 1.0  # for the details of one service
LATE_SECONDS = 0.5  # more, for services of which we have heard last
REVERSE_SECONDS = 0.7  # for hosts to tell their names
MOST = 200  # services or questions: more are nobody's home
_SSH = ("_ssh._tcp.local.", "_sftp-ssh._tcp.local.")
_DEVICE = "_device-info._tcp.local."
SERVICES = (*_SSH, "_workstation._tcp.local.", _DEVICE)
NAMES = {"raspberrypi.local.": "Raspberry Pi"}  # and what a host of that name is

_QUERY, _A, _PTR, _INTERNET = 0, 1, 12, 1  # numbers of RFC 1035: flags, types and class
_IPV4_BYTES = 4


class _Service(NamedTuple):
    """What a host publishes.

    Attributes:
        kind: The type of the service.
        host: The name of its host.
        addresses: The host's IPv4 addresses.
        port: Where the service is.
        model: What a `_device-info` says.
    """

    kind: str
    host: str
    addresses: tuple[str, ...]
    port: int
    model: str


@asynccontextmanager
async def asker(own: list[IPv4Interface]) -> AsyncIterator[Zeroconf | None]:
    """Open sockets for questions in the networks of some addresses; yield None if that fails."""
    from zeroconf import Error, IPVersion
    from zeroconf.asyncio import AsyncZeroconf

    try:
        places = [str(each.ip) for each in own]
        opened = AsyncZeroconf(interfaces=places, ip_version=IPVersion.V4Only) if places else None
    except (OSError, Error):
        opened = None
    try:
        yield opened.zeroconf if opened else None
    finally:
        if opened is not None:
            await opened.async_close()


async def look(zeroconf: Zeroconf | None, neighbours: Iterable[str]) -> Outcome:
    """Return the hosts that answer.

    Args:
        zeroconf: What `asker` yields.
        neighbours: The addresses of hosts to ask for their names.
    """
    if zeroconf is None:
        return Outcome((), "mDNS: this PC is in no network, or does not let us ask")
    services, hosts, names = await asyncio.gather(
        _published(zeroconf), _called(zeroconf), reverse(zeroconf, neighbours, SECONDS)
    )
    models = {each.host: each.model for each in services if each.model}
    seen = [
        Sighting(address, SOURCE, _shown(s.host), models.get(s.host, ""), ssh_port=s.port)
        for s in services
        for address in s.addresses
    ]
    seen += hosts
    seen += [Sighting(address, SOURCE, name) for address, name in names.items()]
    asked = f"services {', '.join(kind.split('.')[0] for kind in SERVICES)}"
    return Outcome(tuple(seen), f"mDNS: the {asked}, and {', '.join(map(_shown, NAMES))}")


async def _published(zeroconf: Zeroconf) -> list[_Service]:
    """Return the services that hosts publish."""
    from zeroconf import ServiceStateChange
    from zeroconf.asyncio import AsyncServiceBrowser

    tasks: dict[str, asyncio.Task[_Service]] = {}

    def heard(
        zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if name not in tasks and len(tasks) < MOST:
            tasks[name] = asyncio.create_task(_service(zeroconf, service_type, name))

    browser = AsyncServiceBrowser(zeroconf, list(SERVICES), handlers=[heard])
    await asyncio.sleep(SECONDS)
    await browser.async_cancel()
    if tasks:
        await asyncio.wait(tasks.values(), timeout=LATE_SECONDS)
    for task in tasks.values():
        task.cancel()
    done = await asyncio.gather(*tasks.values(), return_exceptions=True)
    return [each for each in done if isinstance(each, _Service)]


async def _service(zeroconf: Zeroconf, kind: str, name: str) -> _Service:
    """Ask for the details of a service."""
    from zeroconf import IPVersion
    from zeroconf.asyncio import AsyncServiceInfo

    info = AsyncServiceInfo(kind, name)
    await info.async_request(zeroconf, SERVICE_SECONDS * 1000)  # in vain where it has only a TXT
    model = info.properties.get(b"model") if kind == _DEVICE else None
    return _Service(
        kind=kind,
        host=(info.server or f"{name.removesuffix('.' + kind)}.local.").lower(),
        addresses=tuple(info.parsed_addresses(IPVersion.V4Only)),
        port=info.port if kind in _SSH and info.port else SSH_PORT,
        model=(model or b"").decode("utf-8", "replace"),
    )


async def _called(zeroconf: Zeroconf) -> list[Sighting]:
    """Return the hosts that have one of `NAMES`."""
    from zeroconf import DNSAddress  # type: ignore[attr-defined]

    records = await _ask(zeroconf, NAMES, _A, SECONDS)
    return [
        Sighting(str(IPv4Address(each.address)), SOURCE, _shown(name), NAMES[name], is_board=True)
        for name, each in records
        if isinstance(each, DNSAddress) and len(each.address) == _IPV4_BYTES
    ]


async def reverse(
    zeroconf: Zeroconf | None, addresses: Iterable[str], seconds: float
) -> dict[str, str]:
    """Ask hosts for their names.

    Args:
        zeroconf: What `asker` yields.
        addresses: IPv4 addresses.
        seconds: How long to wait for answers.

    Returns:
        The names of those that have answered, by their addresses.
    """
    from zeroconf import DNSPointer  # type: ignore[attr-defined]

    questions = {f"{IPv4Address(each).reverse_pointer}.": each for each in addresses}
    if zeroconf is None or not questions:
        return {}
    records = await _ask(zeroconf, questions, _PTR, seconds)
    return {
        questions[name]: _shown(each.alias)
        for name, each in records
        if isinstance(each, DNSPointer)
    }


async def _ask(
    zeroconf: Zeroconf, names: Iterable[str], type_: int, seconds: float
) -> list[tuple[str, DNSRecord]]:
    """Ask for the records of names, twice, since a packet may be lost.

    Returns:
        What has come after that time, each with the name that it is for.
    """
    from zeroconf import DNSOutgoing, DNSQuestion  # type: ignore[attr-defined]

    asked = list(names)[:MOST]
    for _ in range(2):
        out = DNSOutgoing(_QUERY)
        for name in asked:
            out.add_question(DNSQuestion(name, type_, _INTERNET))
        zeroconf.async_send(out)
        await asyncio.sleep(seconds / 2)
    return [(name, each) for name in asked for each in zeroconf.cache.async_entries_with_name(name)]


def _shown(host: str) -> str:
    return host.removesuffix(".")
