"""Ask a host what answers at its ports: an SSH server, an rpyc service, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

from ..target import AGENT_PORT, RPYC_PORT
from .greetings import MAX_BYTES, RPYC_QUESTION, is_rpyc, ssh_software, system_of
from .sightings import SSH_PORT, Answer

PORTS = (SSH_PORT, RPYC_PORT, AGENT_PORT)  # a service may use the last one, the agent's
MOST_PORTS = 4  # of SSH that a host may publish
SECONDS = 1.5  # for one port to answer

_T = TypeVar("_T")


class _Refused(Exception):
    """Nothing listens at the port, but the host is there."""


async def ask(
    address: str,
    ssh_ports: Iterable[int] = (SSH_PORT,),
    rpyc_ports: Iterable[int] = (RPYC_PORT, AGENT_PORT),
) -> Answer:
    """Return what answers at a host, after `SECONDS` at the latest.

    Args:
        address: Its address.
        ssh_ports: Where an SSH server may be; the lowest that answers counts.
        rpyc_ports: Where an rpyc service may be; the same.
    """
    ssh, rpyc = sorted({*ssh_ports})[:MOST_PORTS], sorted({*rpyc_ports})
    answers = await asyncio.gather(
        *(_answer(address, port, b"", ssh_software) for port in ssh),
        *(_answer(address, port, RPYC_QUESTION, is_rpyc) for port in rpyc),
        return_exceptions=True,
    )
    ways: dict[str, int] = {}
    system = ""
    for port, answer in zip([*ssh, *rpyc], answers, strict=True):
        if isinstance(answer, str) and "ssh" not in ways:
            ways["ssh"], system = port, system_of(answer)
        elif answer is True:
            ways.setdefault("rpyc", port)
    return Answer(ways, system, bool(ways) or any(isinstance(a, _Refused) for a in answers))


async def is_open(address: str, port: int, seconds: float) -> bool:
    """Say whether something listens at a port."""
    with suppress(OSError, asyncio.TimeoutError):
        opened = asyncio.open_connection(address, port)
        _, writer = await asyncio.wait_for(opened, seconds)
        writer.transport.abort()
        return True
    return False


async def _answer(
    address: str, port: int, question: bytes, read: Callable[[bytes], _T | None]
) -> _T | None:
    """Connect, say something, and read until it is clear what answers.

    Args:
        address: The host.
        port: Its port.
        question: What to say first.
        read: Returns what all that came so far means, and None while that is open.

    Returns:
        What answers; None if that stays open.

    Raises:
        _Refused: Nothing listens there.
    """
    with suppress(OSError, asyncio.TimeoutError):
        return await asyncio.wait_for(_exchange(address, port, question, read), SECONDS)
    return None


async def _exchange(
    address: str, port: int, question: bytes, read: Callable[[bytes], _T | None]
) -> _T | None:
    try:
        reader, writer = await asyncio.open_connection(address, port, limit=MAX_BYTES)
    except ConnectionRefusedError as error:
        raise _Refused() from error
    try:
        writer.write(question)
        data = b""
        while len(data) < MAX_BYTES and (part := await reader.read(MAX_BYTES)):
            data += part
            if (meaning := read(data)) is not None:
                return meaning
        return None
    finally:
        writer.transport.abort()
