"""Programs and ports of a device, through this PC's adb server.

`exec:` carries the stdin and stdout of a program as they are, and its stderr among them; it tells
no exit status. `tcp:` leads to a port of the device's loopback, without `adb forward`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from ... import errors
from ...target import ADB, Target
from .. import shell
from ..prompts import Prompts
from ..stream import Dial, Start, Stream
from . import devices, server

log = logging.getLogger(__name__)

DIAL_SECONDS = 15.0


def find(host: str) -> str:
    """Return the host of a target with the device that it means, once that can be used.

    Args:
        host: `adb:` and what `devices.find` takes; empty for the only device.

    Raises:
        RkernelError: AdbMissing, AdbUnusable, and what `devices.find` raises.
    """
    client = server.connect()
    name = devices.find(client, host.removeprefix(ADB))
    log.info("adb: the device is %s, by the server at %s:%d", name, client.host, client.port)
    return ADB + name


def transport(target: Target, prompts: Prompts | None) -> Start:
    """Return what starts programs on a device.

    What it raises besides: NoExec if the device's adbd cannot, and what `find` raises.
    """

    def start(words: Sequence[str], first: bytes, timeout: float) -> Stream:
        try:
            stream = _open(target, f"exec:{shell.line(words)}", timeout)
        except server.ServiceRefused as error:
            raise errors.NoExec(host=target.host) from error
        try:
            with suppress(ConnectionError):  # it has ended, and its last words tell why
                stream.write(first, timeout)
            stream.answers(timeout)
            return stream
        except BaseException as error:
            stream.close()
            if isinstance(error, TimeoutError):
                raise errors.BoardSilent(seconds=timeout) from None
            raise

    return start


def dial(target: Target, prompts: Prompts | None) -> Dial:
    """Return what connects to a port of a device.

    What it raises: PortRefused, and what `find` raises.
    """

    def connect(port: int) -> Stream:
        try:
            return _open(target, f"tcp:{port}", DIAL_SECONDS)
        except server.ServiceRefused as error:
            facts = {"host": target.host, "port": port, "service": "the rpyc service"}
            raise errors.PortRefused(**facts) from error

    return connect


def _open(target: Target, service: str, timeout: float) -> Stream:
    """Open a service of a device, which may have been away. Raises also ServiceRefused."""
    client = server.connect()
    serial = devices.find(client, target.host.removeprefix(ADB))
    return Stream(server.open_service(client, serial, service, timeout))
