"""A connection to an SSH server, perhaps through a jump host: reached, checked and logged in."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import ExitStack, suppress
from typing import Any

import paramiko

from ... import errors
from ...sanitize import escape_controls
from .. import tcp
from ..prompts import Prompts
from . import channels, host_keys
from .channels import spawn
from .login import log_in
from .settings import Route

# without a handler, Python would print paramiko's warnings and tracebacks to stderr
logging.getLogger("paramiko").addHandler(logging.NullHandler())

# What to prefer to paramiko's first choice: the cheapest of its strong ones for a small board.
_DIGESTS = ("hmac-sha2-256-etm@openssh.com",)
_KEEPALIVE = 30  # seconds of silence after which we say that we are still there
_IDLE_POLL = 10.0  # seconds between two looks of an idle connection at whether to say so
_FAREWELL = 1.0  # seconds that the reader may take to end
_NOTHING_IN_COMMON = {  # the end of paramiko's sentence: ours, the server's list, and the setting
    "kex algorithm)": ("key exchange method", "kex_algo_list", "KexAlgorithms"),
    "host key)": ("host key type", "server_key_algo_list", "HostKeyAlgorithms"),
    "ciphers)": ("cipher", "server_encrypt_algo_list", "Ciphers"),
    "macs)": ("MAC", "server_mac_algo_list", "MACs"),
}


class Connection(paramiko.Transport):
    """A transport that wakes up seldom, ends at once, and takes what carries it down with it.

    Args:
        carrier: The socket.

    Attributes:
        greeting: The lines that the server sent before it said that it speaks SSH.
        offer: The algorithms that the server can do.
    """

    def __init__(self, carrier: socket.socket) -> None:
        super().__init__(carrier)
        self.greeting: list[str] = []
        self.offer: dict[str, Any] = {}
        options = self.get_security_options()
        rest = [digest for digest in options.digests if digest not in _DIGESTS]
        options.digests = (*_DIGESTS, *rest)

    def settle(self) -> None:
        """Rest, once logged in: an idle paramiko looks at its socket ten times a second.

        It looks in order to notice `close`, which wakes it up itself here, and to send keepalives.
        """
        self.sock.settimeout(_IDLE_POLL)
        self.set_keepalive(_KEEPALIVE)

    def close(self) -> None:
        """End the connection and those that carry it."""
        # A shutdown wakes the reader, which closes the socket itself. Closed from here, the
        # socket's number could belong to another file by the time the reader waits for it.
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        if self.is_alive() and self is not threading.current_thread():
            self.join(_FAREWELL)
        super().close()

    def _log(self, level: int, message: Any, *args: Any) -> None:
        """Keep the lines of a server that is too busy to speak SSH; paramiko only logs them."""
        if isinstance(message, str) and message.startswith("Banner: "):
            self.greeting.append(escape_controls(message[8:].strip()))
        super()._log(level, message, *args)  # type: ignore[misc]

    def _really_parse_kex_init(self, m: paramiko.Message, *args: Any, **more: Any) -> Any:
        self.offer = super()._really_parse_kex_init(m, *args, **more)  # type: ignore[misc]
        return self.offer


def connect(route: Route, prompts: Prompts | None) -> Connection:
    """Log in to a host; closing the connection closes that to the jump host, too.

    Args:
        route: The way there.
        prompts: How to ask about a new host key and for secrets; None to ask nothing.

    Raises:
        RkernelError: A subclass of Unreachable or NotLetIn, or KnownHostsUnusable.
    """
    with ExitStack() as undo:
        carrier = _through(route.jump, route, prompts) if route.jump else _dial(route)
        undo.callback(carrier.close)
        connection = Connection(carrier)
        undo.callback(connection.close)
        try:
            _agree(connection, route, prompts)
            log_in(connection, route, prompts)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise failed(route, str(error)) from error
        connection.settle()
        undo.pop_all()
    return connection


def failed(route: Route, detail: str) -> errors.SshFailed:
    """Return the error for what has no other."""
    detail = escape_controls(detail).strip().rstrip(".") or "the connection was lost"
    return errors.SshFailed(**route.facts, detail=detail)


def _dial(route: Route) -> socket.socket:
    try:
        return tcp.connect(route.hostname, route.port, route.seconds)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: no name that DNS can carry
        raise errors.UnknownHost(host=route.hostname) from error
    except ConnectionRefusedError as error:
        raise errors.PortRefused(**route.facts, service="an SSH server") from error
    except OSError as error:
        raise errors.NoRoute(**route.facts, detail=error.strerror or str(error)) from error


def _through(jump: Route, route: Route, prompts: Prompts | None) -> socket.socket:
    """Return a socket whose end is the end of the connection to the jump host."""
    below = connect(jump, prompts)
    try:
        address = (route.hostname, route.port)
        channel = below.open_channel("direct-tcpip", address, ("", 0), timeout=route.seconds)
    except (paramiko.SSHException, EOFError, OSError) as error:
        below.close()
        reason = error.text if isinstance(error, paramiko.ChannelException) else str(error)
        detail = escape_controls(reason).rstrip(".") or "it does not answer"
        facts = {**route.facts, "host": route.hostname}
        raise errors.JumpFailed(**facts, jump=jump.host, detail=detail) from error
    local, remote = socket.socketpair()
    outward = spawn(channels.outward, channel, remote)

    def inward() -> None:
        channels.inward(remote, channel)
        below.close()
        outward.join(_FAREWELL)
        remote.close()

    spawn(inward)
    return local


def _agree(connection: Connection, route: Route, prompts: Prompts | None) -> None:
    """Agree on algorithms with the server, and make sure that it is the right one."""
    entries = host_keys.read(route)
    options = connection.get_security_options()
    options.key_types = host_keys.preferred(entries, tuple(options.key_types))
    # later than ours, whose end can be told from a server that does not speak SSH
    connection.banner_timeout = connection.handshake_timeout = 2 * route.seconds
    done = threading.Event()
    connection.start_client(done)
    answered = done.wait(route.seconds)
    connection.packetizer.complete_handshake()  # or its timer outlives a failed handshake
    if not answered:
        raise errors.SshSilent(**route.facts)
    if not connection.is_active():
        raise _no_agreement(connection, route)
    host_keys.check(route, entries, connection.get_remote_server_key(), prompts)


def _no_agreement(connection: Connection, route: Route) -> errors.RkernelError:
    if not connection.remote_version:
        detail = "; ".join(connection.greeting) or "it gives no reason"
        return errors.SshBusy(**route.facts, detail=detail)
    said = str(connection.get_exception() or "it closed the connection")
    for end, (what, offers, setting) in _NOTHING_IN_COMMON.items():
        if said.endswith(f"no acceptable {end}"):
            offer = escape_controls(",".join(connection.offer[offers]))
            facts = {"what": what, "offer": offer, "setting": f"{setting} +{offer}"}
            return errors.NoCommonAlgorithm(**route.facts, **facts)
    return failed(route, said)
