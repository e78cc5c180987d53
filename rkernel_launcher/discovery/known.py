"""The boards that the person has added: where each of them is, and whether it answers now."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from ..errors import RkernelError
from ..target import RPYC_PORT, Target
from ..transports import ssh
from . import adb, probe
from .background import in_thread
from .sightings import SSH_PORT, Answer

SECONDS = 2.0  # for the look-up of a name


class Place(NamedTuple):
    """Where a target is.

    Attributes:
        addresses: Its addresses; `adb:` and the name of a device.
        ssh_port: The port of its SSH server.
    """

    addresses: tuple[str, ...]
    ssh_port: int = SSH_PORT


_NOWHERE = Place(())


async def places(targets: Mapping[str, Target]) -> dict[str, Place | None]:
    """Return where targets are, after `SECONDS` at the latest.

    Args:
        targets: The targets, by their names.

    Returns:
        A place without addresses for a name that does not resolve. None for a target that this PC
        does not connect to itself, such as one behind a jump host, or whose settings are broken.
    """
    found = await asyncio.gather(*map(_place, targets.values()))
    return dict(zip(targets, found, strict=True))


def names_at(address: str, found: Mapping[str, Place | None]) -> tuple[str, ...]:
    """Return the names of the targets that are at an address.

    Args:
        address: The address of a `Found`.
        found: What `places` returned.
    """
    return tuple(name for name, place in found.items() if place and address in place.addresses)


def answering(targets: Mapping[str, Target]) -> dict[str, bool | None]:
    """Say which boards answer now.

    Args:
        targets: How to reach them, by their names.

    Returns:
        By name, whether the program that --via wants answers; None if we cannot tell.
    """
    return asyncio.run(_answering(targets))


async def _answering(targets: Mapping[str, Target]) -> dict[str, bool | None]:
    found = await places(targets)
    devices = in_thread(adb.ready) if any(t.via == "adb" for t in targets.values()) else None
    answers = await asyncio.gather(
        *(_answers(target, found[name], devices) for name, target in targets.items())
    )
    return dict(zip(targets, answers, strict=True))


async def _answers(
    target: Target, place: Place | None, devices: asyncio.Future[set[str]] | None
) -> bool | None:
    if place is None:
        return None
    if devices is not None and target.via == "adb":
        with suppress(asyncio.TimeoutError):
            ready = await asyncio.wait_for(asyncio.shield(devices), adb.SECONDS)
            return not ready.isdisjoint(place.addresses)
        return False
    rpyc_port = (target.via == "rpyc" and target.port) or RPYC_PORT
    asked = [probe.ask(each, [place.ssh_port], [rpyc_port]) for each in place.addresses]
    return any(_fits(target, answer) for answer in await asyncio.gather(*asked))


def _fits(target: Target, answer: Answer) -> bool:
    return bool(answer.ways) if target.via == "auto" else target.via in answer.ways


async def _place(target: Target) -> Place | None:
    if target.via in ("local", "command") or not target.host:
        return None
    if target.via == "adb":
        return Place((target.host,))
    try:
        return await asyncio.wait_for(in_thread(lambda: _look_up(target)), SECONDS)
    except asyncio.TimeoutError:
        return _NOWHERE


def _look_up(target: Target) -> Place | None:
    """Return where a target is by the settings for ssh and the system's names."""
    try:
        server = ssh.server(target) if target.via != "rpyc" else (target.host, SSH_PORT)
    except RkernelError:
        return None
    if server is None:
        return None
    host, port = server
    try:
        resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: no name is like that
        return _NOWHERE
    return Place(tuple(dict.fromkeys(str(each[4][0]) for each in resolved)), port)
