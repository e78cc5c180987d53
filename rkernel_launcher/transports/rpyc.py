"""The ports of a board that runs an rpyc service, over TCP."""

from __future__ import annotations

import socket

from ..errors import ConnectTimeout, PortRefused, UnknownHost
from ..target import Target
from . import tcp
from .prompts import Prompts
from .stream import Dial, Stream

CONNECT_SECONDS = 15.0


def dial(target: Target, prompts: Prompts | None) -> Dial:
    """Return what connects to a port of a board.

    What it raises: UnknownHost, ConnectTimeout, PortRefused.
    """

    def connect(port: int) -> Stream:
        try:
            return Stream(tcp.connect(target.host, port, CONNECT_SECONDS))
        except (socket.gaierror, UnicodeError) as error:  # UnicodeError: no name is like that
            raise UnknownHost(host=target.host) from error
        except ConnectionRefusedError as error:
            raise PortRefused(host=target.host, port=port, service="the rpyc service") from error
        except OSError as error:
            facts = {"host": target.host, "port": port, "seconds": CONNECT_SECONDS}
            raise ConnectTimeout(**facts) from error

    return connect
