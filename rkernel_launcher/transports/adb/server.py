"""This PC's adb server, which owns the devices. adbutils talks to it.

Of adbutils we use what carries requests to the server, and its list of devices. The program `adb`
only starts the server: it does not carry a stream both ways (`adb exec-out` drops stdin).
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ... import errors
from ...sanitize import escape_controls

if TYPE_CHECKING:
    from adbutils import AdbClient

ANSWER_SECONDS = 15.0  # for the server to answer; it gives a device of the network 10
START_SECONDS = 30.0


def connect() -> AdbClient:
    """Return a client of the server, which is started unless it runs.

    Its address is that which the program `adb` takes from the environment.

    Raises:
        AdbMissing: adbutils is not installed.
        AdbUnusable: The server does not run, and cannot be started.
    """
    client = _client(ANSWER_SECONDS)
    if not _runs(client):
        said = _start()
        if not _runs(client):
            raise errors.AdbUnusable(detail=said or "it does not start")
    return client


def running(seconds: float) -> AdbClient | None:
    """Return a client of the server if that runs, and None otherwise.

    Args:
        seconds: How long it may take to answer each request.

    Raises:
        AdbMissing: adbutils is not installed.
        AdbUnusable: The environment names no address of a server.
    """
    client = _client(seconds)
    return client if _runs(client, seconds) else None


def _client(seconds: float) -> AdbClient:
    try:
        import adbutils  # takes 0.1 s, of which most is for requests
    except ImportError as error:
        raise errors.AdbMissing() from error
    except ValueError as error:  # the server's port in the environment, which it reads at once
        raise errors.AdbUnusable(detail=f"ANDROID_ADB_SERVER_PORT: {error}") from error
    return adbutils.AdbClient(socket_timeout=seconds)


def _runs(client: AdbClient, seconds: float = ANSWER_SECONDS) -> bool:
    try:
        socket.create_connection((client.host, client.port), seconds).close()
    except OSError:
        return False
    return True


def _start() -> str:
    """Start the server; return the last that was said about it.

    adbutils would do so too, but lets adb speak to the terminal.
    """
    import adbutils

    with tempfile.TemporaryFile() as said:  # no pipe: the server may keep it open
        try:
            subprocess.run(
                [adbutils.adb_path(), "start-server"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=START_SECONDS,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except (adbutils.AdbError, OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        said.seek(0)
        return escape_controls(said.read().decode("utf-8", "replace").strip().rpartition("\n")[2])


@contextmanager
def asked(what: str) -> Iterator[None]:
    """Turn what adbutils raises within the block into an error of ours.

    Args:
        what: What the server was asked about.

    Raises:
        AdbFailed: The server refuses, or does not answer.
    """
    import adbutils

    try:
        yield
    except (adbutils.AdbError, OSError, EOFError, ValueError) as error:
        detail = escape_controls(str(error).strip().partition("\n")[0])
        raise errors.AdbFailed(what=what, detail=detail) from error


def open_service(client: AdbClient, serial: str, service: str, timeout: float) -> socket.socket:
    """Return a socket to a service of a device, such as `exec:ls` or `tcp:22`.

    Args:
        client: What `connect` returned.
        serial: The device.
        service: The service, see adb's SERVICES.TXT.
        timeout: Seconds.

    Raises:
        ServiceRefused: The device has no such service.
        AdbFailed: The server refuses, or does not answer.
    """
    import adbutils

    with asked(f"adb:{serial}"):
        connection = client.device(serial).open_transport(timeout=timeout)
        try:
            connection.send_command(service)
            connection.check_okay()
            sock: socket.socket = connection.conn
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except BaseException as error:
            connection.close()
            if isinstance(error, adbutils.AdbError) and str(error) == _CLOSED:
                raise ServiceRefused() from error
            raise


_CLOSED = "closed"  # all that the server says of it


class ServiceRefused(Exception):
    """The device has closed a service at once: it does not know it, or nobody listens there."""
