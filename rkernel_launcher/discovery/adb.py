"""The devices of this PC's adb server, if one runs; we start none."""

from __future__ import annotations

from .. import errors
from ..target import ADB
from ..transports.adb import devices, server
from .sightings import Found, Outcome

SOURCE = "adb"
SECONDS = 2.0  # for the server to answer


def look() -> Outcome:
    """Return the devices that the server lists."""
    try:
        client = server.running(SECONDS)
        listed = devices.listed(client) if client else []
    except errors.AdbMissing:
        return Outcome((), "adb: rkernel[adb] is not installed")
    except errors.RkernelError as error:
        return Outcome((), f"adb: {error.facts['detail']}")
    if client is None:
        return Outcome((), "adb: no adb server runs")
    found = [
        Found(
            address=ADB + name,
            model=device.model,
            ways={"adb": 0},
            sources=(SOURCE,),
            trouble="" if device.is_ready else f"adb says: {device.state}",
        )
        for device, name in zip(listed, devices.names(listed), strict=True)
    ]
    count = f"{len(found)} devices" if found else "no device"
    return Outcome((), f"adb: its server has {count}", tuple(found))


def ready() -> set[str]:
    """Return the addresses of the devices that can be used, each by all of its names."""
    try:
        client = server.running(SECONDS)
        listed = devices.listed(client) if client else []
    except errors.RkernelError:
        return set()
    usable = [each for each in listed if each.is_ready]
    return {ADB + name for each in usable for name in (each.serial, each.place) if name}
