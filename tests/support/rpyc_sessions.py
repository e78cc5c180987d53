"""Sessions with an rpyc service at a port of this machine."""

from __future__ import annotations

from functools import partial

from rkernel_launcher.board.rpyc.session import Session, over_service
from rkernel_launcher.target import Target
from rkernel_launcher.transports import rpyc


def over_tcp(host: str, port: int, timeout: float) -> Session:
    """Open a session, as `--via rpyc` does.

    Args:
        host: Its name or address.
        port: The service's.
        timeout: Seconds for each request.
    """
    dial = rpyc.dial(Target(host=host), None)
    return over_service(partial(dial, port), host, port, timeout)
