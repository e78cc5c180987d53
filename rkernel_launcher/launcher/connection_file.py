"""The connection file: which endpoints the frontend expects the kernel at."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

from ..errors import BadConnectionFile

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


@dataclass(frozen=True)
class Connection:
    """What a connection file says.

    Source: "Connection files" in https://jupyter-client.readthedocs.io/en/stable/kernels.html

    Attributes:
        transport: "tcp" or "ipc".
        ip: The address to listen at, "*" for all; for ipc, the beginning of the sockets' paths.
        ports: The port of each channel, by its name; for ipc, the end of a socket's path.
        key: The key that signs messages.
        signature_scheme: How it signs them, such as "hmac-sha256".
    """

    transport: str
    ip: str
    ports: dict[str, int]
    key: str
    signature_scheme: str

    def endpoint(self, channel: str) -> str:
        """Return the address of a channel, as zmq writes it."""
        if self.transport == "ipc":
            return f"ipc://{self.path(channel)}"
        return f"tcp://{self.ip}:{self.ports[channel]}"

    def path(self, channel: str) -> str:
        """Return the path of a channel's Unix socket."""
        return f"{self.ip}-{self.ports[channel]}"


@contextmanager
def made() -> Iterator[Path]:
    """Make a connection file where no frontend writes one, and remove it at the end.

    Yields:
        Its path; only our user can read it.
    """
    from jupyter_client.connect import write_connection_file  # heavy, and not for the launcher

    path = Path(jupyter_runtime_dir(), f"kernel-rkernel-{secrets.token_hex(4)}.json")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_connection_file(str(path), key=secrets.token_hex(32).encode())
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def read(path: str) -> Connection:
    """Return what the connection file at `path` says.

    Raises:
        BadConnectionFile: The file is missing, makes no sense, or asks for what rkernel does not
            support.
    """
    try:
        info = json.loads(Path(path).read_text("utf-8"))
        if any(info.get(name) for name in ("curve_publickey", "curve_secretkey")):
            raise ValueError("it asks for CurveZMQ, which rkernel does not support")
        connection = Connection(
            transport=str(info.get("transport", "tcp")),
            ip=str(info["ip"]),
            ports={channel: int(info[f"{channel}_port"]) for channel in CHANNELS},
            key=str(info["key"]),
            signature_scheme=str(info.get("signature_scheme", "hmac-sha256")),
        )
        if connection.transport not in ("tcp", "ipc"):
            raise ValueError(f"rkernel does not support the transport {connection.transport}")
        if not all(0 < port < 65536 for port in connection.ports.values()):
            raise ValueError("ports are 1 to 65535")
    except OSError as error:
        raise BadConnectionFile(path=path, detail=error.strerror) from error
    except KeyError as error:
        raise BadConnectionFile(path=path, detail=f"{error} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise BadConnectionFile(path=path, detail=str(error)) from error
    return connection
