"""SSH to a board: an authenticated connection, over jump hosts and proxies, or a plain sentence."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import ExitStack

import paramiko

from ...errors import ConnectTimeout, JumpFailed, PortRefused, ProxyFailed, SshFailed, UnknownHost
from ...target import Target
from .. import tcp
from . import known_hosts
from .auth import authenticate
from .config import Route, resolve
from .passwords import Prompts
from .transport import CommandSocket, Connection, Tunnel

# without a handler, Python would print paramiko's warnings and tracebacks to stderr
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def connect(
    target: Target, prompts: Prompts | None = None, *, timeout: float = 15.0
) -> paramiko.Transport:
    """Log in to a board.

    Parameters: `target`; `prompts`, how to ask about unknown host keys and for secrets, None to ask
    nothing; `timeout`, the seconds that each host on the way may take to answer, unless its
    ConnectTimeout in the ssh settings says otherwise.
    Returns: the authenticated transport; closing it closes those to the jump hosts too.
    Errors: those of errors.py below Unreachable and NotLetIn; SshConfigBroken, KnownHostsUnusable.
    """
    return _open(resolve(target), prompts, timeout)


def _open(route: Route, prompts: Prompts | None, timeout: float) -> Connection:
    limit = route.connect_timeout or timeout
    with ExitStack() as undo:
        carrier: socket.socket | Tunnel | CommandSocket
        if route.jump is not None:
            below = _open(route.jump, prompts, timeout)
            undo.callback(below.close)
            carrier = _through(below, route, limit)
        elif route.proxy_command is not None:
            carrier = _command(route, attended=prompts is not None)
        else:
            carrier = _dial(route, limit)
        undo.callback(carrier.close)
        connection = Connection(carrier)
        undo.callback(connection.close)
        try:
            _greet(connection, route, carrier, limit, prompts)
            connection.typed_password = authenticate(connection, route, prompts)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise _failed(route, str(error)) from error
        connection.settle()
        undo.pop_all()
    return connection


def _dial(route: Route, limit: float) -> socket.socket:
    facts = {"host": route.host, "port": route.port}
    try:
        return tcp.connect(route.hostname, route.port, limit)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: no name that DNS can carry
        raise UnknownHost(host=route.hostname) from error
    except ConnectionRefusedError as error:
        raise PortRefused(**facts, service="an SSH server") from error
    except TimeoutError as error:
        raise ConnectTimeout(**facts, seconds=limit) from error
    except OSError as error:
        raise _failed(route, error.strerror or str(error)) from error


def _through(below: Connection, route: Route, limit: float) -> Tunnel:
    assert route.jump is not None
    facts = {"jump": route.jump.host, "host": route.hostname, "port": route.port}
    try:
        channel = below.open_channel(
            "direct-tcpip", (route.hostname, route.port), ("127.0.0.1", 0), timeout=limit
        )
    except paramiko.ChannelException as error:
        raise JumpFailed(**facts, detail=error.text or "it refuses to forward") from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        detail = "the jump host did not answer" if below.is_active() else "it closed the connection"
        raise JumpFailed(**facts, detail=detail) from error
    return Tunnel(below, channel)


def _command(route: Route, *, attended: bool) -> CommandSocket:
    assert route.proxy_command is not None
    try:
        return CommandSocket(route.proxy_command, detached=not attended)
    except OSError as error:
        raise _proxy_failed(route, error.strerror or str(error)) from error


def _greet(
    connection: Connection,
    route: Route,
    carrier: object,
    limit: float,
    prompts: Prompts | None,
) -> None:
    """Agree on keys with the server, and make sure that it is the right one."""
    entries = known_hosts.read(route)
    options = connection.get_security_options()
    options.key_types = known_hosts.preferred(entries, tuple(options.key_types))
    # later than ours, whose end can be told from a server that does not speak SSH
    connection.banner_timeout = connection.handshake_timeout = 2 * limit
    done = threading.Event()
    connection.start_client(done)
    answered = done.wait(limit)
    connection.packetizer.complete_handshake()  # or its timer outlives a failed handshake
    if not answered or not connection.is_active():
        raise _no_greeting(connection, route, carrier, limit, answered)
    confirm = prompts.confirm if prompts is not None else None
    known_hosts.check(route, entries, connection.get_remote_server_key(), confirm)


def _no_greeting(
    connection: Connection, route: Route, carrier: object, limit: float, answered: bool
) -> Exception:
    if isinstance(carrier, CommandSocket) and not connection.remote_version:
        connection.close()
        return _proxy_failed(route, carrier.failure())
    if not answered:
        return ConnectTimeout(host=route.host, port=route.port, seconds=limit)
    if not connection.remote_version:
        return _failed(route, "what answers there does not speak SSH")
    return _failed(route, str(connection.get_exception() or "it closed the connection"))


def _proxy_failed(route: Route, detail: str) -> ProxyFailed:
    return ProxyFailed(host=route.host, command=route.proxy_command, detail=detail)


def _failed(route: Route, detail: str) -> SshFailed:
    detail = detail.rstrip(".") or "the connection was lost"
    return SshFailed(host=route.host, port=route.port, user=route.user, detail=detail)
