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

    See "Connection files" in jupyter_client's documentation of making kernels.
    """

    transport: str
    ip: str
    ports: dict[str, int]
    key: str
    signature_scheme: str

    def endpoint(self, channel: str) -> str:
        """Return a channel's address as zmq writes it."""
        if self.transport == "ipc":
            return f"ipc://{self.path(channel)}"
        return f"tcp://{self.ip}:{self.ports[channel]}"

    def path(self, channel: str) -> str:
        """Return a channel's Unix socket."""
        return f"{self.ip}-{self.ports[channel]}"


@contextmanager
def made() -> Iterator[Path]:
    """Make a connection file that no frontend has written, for our user alone, and remove it."""
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

    Raises BadConnectionFile when it is missing or not to be understood.
    """
    try:
        info = json.loads(Path(path).read_text("utf-8"))
        if any(info.get(name) for name in ("curve_publickey", "curve_secretkey")):
            raise ValueError("CurveZMQ keys, which rkernel does not support")
        connection = Connection(
            transport=str(info.get("transport", "tcp")),
            ip=str(info["ip"]),
            ports={channel: int(info[f"{channel}_port"]) for channel in CHANNELS},
            key=str(info["key"]),
            signature_scheme=str(info.get("signature_scheme", "hmac-sha256")),
        )
        if connection.transport not in ("tcp", "ipc"):
            raise ValueError(f"the transport {connection.transport}")
        if not all(0 < port < 65536 for port in connection.ports.values()):
            raise ValueError("a port that is none")
    except OSError as error:
        raise BadConnectionFile(path=path, detail=error.strerror) from error
    except KeyError as error:
        raise BadConnectionFile(path=path, detail=f"{error} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise BadConnectionFile(path=path, detail=str(error)) from error
    return connection
