"""The devices of an adb server: which one is meant, and whether it can be used."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ... import errors
from ...sanitize import escape_controls
from .server import asked

if TYPE_CHECKING:
    from adbutils import AdbClient

_READY = "device"
_ADDRESS = re.compile(r"(?!usb:).+:[0-9]+")
_NO_PERMISSIONS = "no"  # the first word of "no permissions (…)"


class Device(NamedTuple):
    """A device that the server lists.

    Attributes:
        serial: Its serial number; of a device of the network its HOST:PORT.
        place: The USB port that it is plugged into, such as usb:1-4; empty if that is not known.
        state: The server's word for it.
        model: What kind of device it is, in its own words; empty if it does not say.
    """

    serial: str
    place: str
    state: str
    model: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it can be used."""
        return self.state == _READY


def find(client: AdbClient, name: str) -> str:
    """Return the name of the device that is meant, once it can be used.

    Args:
        client: A client of the server.
        name: Its serial number, its USB port, or its HOST:PORT, to which the server connects unless
            it has; empty for the only one.

    Raises:
        NoDevice: The server has none, or none of that name.
        SeveralDevices: There are several, or none of them can be told from the others.
        DeviceUnauthorized, DeviceForbidden, DeviceNotReady: It cannot be used.
        AdbFailed: The server refuses, or does not answer.
    """
    devices = listed(client)
    if not name:
        return _only(devices)
    device = _named(devices, name)
    if _ADDRESS.fullmatch(name) and (device is None or not device.is_ready):
        with asked(f"adb:{name}"):
            said = client.connect(name)
        device = _named(listed(client), name)
        if device is None:
            raise errors.AdbFailed(what=f"adb:{name}", detail=escape_controls(said.strip()))
    if device is None:
        raise errors.UnknownDevice(name=name, devices=_names(devices) or "none")
    _check(device, name)
    return name


def listed(client: AdbClient) -> list[Device]:
    """Return the devices that the server knows, whatever their state.

    Raises:
        AdbFailed: The server refuses, or does not answer.
    """
    with asked("its devices"):
        return [
            Device(
                serial=found.serial,
                place=f"usb:{found.tags['usb']}" if "usb" in found.tags else "",
                state=found.state,
                model=found.tags.get("model", "").replace("_", " "),
            )
            for found in client.list(extended=True)
        ]


def _only(devices: Sequence[Device]) -> str:
    """Return the name of the only device that can be used, or say why there is none."""
    ready = [device for device in devices if device.is_ready]
    candidates = ready or devices
    if not candidates:
        raise errors.NoDevice()
    if len(candidates) > 1:
        raise errors.SeveralDevices(devices=_names(devices))
    _check(candidates[0], candidates[0].serial)
    return candidates[0].serial


def _named(devices: Sequence[Device], name: str) -> Device | None:
    found = [device for device in devices if name in (device.serial, device.place)]
    if len(found) > 1:
        raise errors.SeveralDevices(devices=_names(devices))
    return found[0] if found else None


def names(devices: Sequence[Device]) -> list[str]:
    """Return for each device a name that no other has: boards of one kind may share a serial."""
    shared = Counter(device.serial for device in devices)
    return [d.place if d.place and shared[d.serial] > 1 else d.serial for d in devices]


def _names(devices: Sequence[Device]) -> str:
    return ", ".join(map(escape_controls, names(devices)))


def _check(device: Device, name: str) -> None:
    """Make sure that a device can be used."""
    if device.state == _NO_PERMISSIONS:
        raise errors.DeviceForbidden(name=name)
    if device.state == "unauthorized":
        raise errors.DeviceUnauthorized(name=name)
    if not device.is_ready:
        raise errors.DeviceNotReady(name=name, state=escape_controls(device.state))
