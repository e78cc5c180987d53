"""The transports to a board: ssh, its own rpyc service, or a child process of this machine."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import errors, os_support
from ..target import RPYC_PORT, Target
from ..transports import tcp
from ..transports.rpyc import first_stage
from ..transports.rpyc import session as rpyc_session
from ..transports.rpyc.streams import ChannelStream
from ..transports.ssh.forwarded_socket import through
from ..transports.ssh.passwords import Prompts
from .board import Board

if TYPE_CHECKING:
    from paramiko import Channel, Transport

CONNECT_SECONDS = 15.0
SESSION_SECONDS = 60.0  # for a slow board to start its Python, or to answer a request
LOOPBACK = "127.0.0.1:0"


def reach(target: Target, prompts: Prompts | None = None) -> Board:
    """Open a session with the board that `target` names.

    Args:
        target: Where the board is, and by which transport to reach it.
        prompts: How to ask a person; None to ask nothing.

    Returns:
        The board, whose target names the transport that was used.

    Raises:
        RkernelError: The reason, a subclass of Unreachable, NotLetIn, BoardCannot, BoardBroken or
            OnThisPc.
    """
    return TRANSPORTS[target.via](target, prompts)


def over_ssh(target: Target, prompts: Prompts | None) -> Board:
    """Log in over ssh, and start our first stage there; the link goes through the same login.

    Args:
        target: Where the board is.
        prompts: How to ask a person; None to ask nothing.

    Raises:
        RkernelError: As `ssh.client.connect`, `first_stage.handshake` and `session.over_stream`.
        BoardLost: The connection ended before the session began.
    """
    import paramiko  # only this transport needs it, and the import takes 60 ms

    from ..transports.ssh import authorized_keys
    from ..transports.ssh import client as ssh

    transport = ssh.connect(target, prompts, timeout=CONNECT_SECONDS)
    try:
        channel = transport.open_session(timeout=SESSION_SECONDS)
        channel.exec_command(first_stage.command(target.python or "python3"))
        stream = ChannelStream(channel)
        first_stage.handshake(stream, SESSION_SECONDS)
        session = rpyc_session.over_stream(stream, SESSION_SECONDS)
    except (paramiko.SSHException, EOFError, OSError) as error:
        transport.close()
        raise errors.BoardLost(detail=str(error) or "it closed the connection") from error
    except BaseException:
        transport.close()
        raise

    def connect(port: int) -> socket.socket:
        return through(_forwarded(transport, target.host, port), transport.close)

    def redial(port: int) -> socket.socket:
        login = ssh.connect(target, None, timeout=CONNECT_SECONDS)
        try:
            return through(_forwarded(login, target.host, port), login.close)
        except BaseException:
            login.close()
            raise

    def close() -> None:
        session.close()
        transport.close()

    return Board(
        target=replace(target, via="ssh"),
        session=session,
        bind=LOOPBACK,
        connect=connect,
        close=close,
        redial=redial,
        reconnect=lambda: over_ssh(target, None),
        offer_key=partial(authorized_keys.offer_key, transport, target),
    )


def _forwarded(transport: Transport, host: str, port: int) -> Channel:
    """Return a channel to a port of the board's loopback."""
    import paramiko

    where = ("127.0.0.1", port)
    try:
        return transport.open_channel(
            "direct-tcpip", where, ("127.0.0.1", 0), timeout=CONNECT_SECONDS
        )
    except paramiko.ChannelException as error:
        raise errors.NoForwarding(host=host, detail=error.text) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise errors.BoardLost(detail=str(error)) from error


def over_rpyc(target: Target, prompts: Prompts | None) -> Board:
    """Use the board's own rpyc service; the link goes straight to the agent's port.

    Args:
        target: Where the board is.
        prompts: Not used: this transport asks nothing.

    Raises:
        RkernelError: As `session.over_tcp`.
    """
    port = target.port or RPYC_PORT
    session = rpyc_session.over_tcp(target.host, port, CONNECT_SECONDS)
    session.timeout = SESSION_SECONDS
    connect = partial(_tcp, target.host)
    return Board(
        target=replace(target, via="rpyc"),
        session=session,
        bind=f"0.0.0.0:{target.link_port}",
        connect=connect,
        close=session.close,
        redial=connect,
        reconnect=lambda: over_rpyc(target, None),
    )


def over_pipe(target: Target, prompts: Prompts | None) -> Board:
    """Start a child process of this machine that plays the board.

    Args:
        target: Which Python to start.
        prompts: Not used: this transport asks nothing.

    Raises:
        NotSupportedHere: This system cannot play a board.
        RkernelError: As `first_stage.start`, `first_stage.handshake` and `session.over_stream`.
    """
    if os_support.WINDOWS:
        raise errors.NotSupportedHere()
    stream = first_stage.start(str(Path(target.python or sys.executable).expanduser()))
    try:
        first_stage.handshake(stream, SESSION_SECONDS)
        session = rpyc_session.over_stream(stream, SESSION_SECONDS)
    except BaseException:
        stream.close()
        raise
    connect = partial(_tcp, "127.0.0.1")
    return Board(
        target=target,
        session=session,
        bind=LOOPBACK,
        connect=connect,
        close=session.close,
        redial=connect,
        reconnect=lambda: over_pipe(target, None),
    )


def by_itself(target: Target, prompts: Prompts | None) -> Board:
    """Take ssh if the board's server answers and accepts us, else the board's rpyc service.

    Args:
        target: Where the board is.
        prompts: How to ask a person; None to ask nothing.

    Raises:
        UnknownHost: The host's name does not resolve; we do not try rpyc.
        WrongHostKey: The host shows a key that it must not have; we do not try rpyc.
        NoTransport: Nothing answers, neither over ssh nor over rpyc.
        RkernelError: ssh answers and fails, and no rpyc service answers: the error of ssh. Or the
            error of rpyc, whose service answers and fails.
    """
    try:
        return over_ssh(target, prompts)
    except (errors.UnknownHost, errors.WrongHostKey):
        raise
    except errors.RkernelError as error:
        refused = error
    try:
        return over_rpyc(replace(target, port=None), prompts)
    except (errors.NobodyAnswers, errors.NotRpyc) as error:
        if isinstance(refused, errors.NobodyAnswers):
            reasons = {"ssh": _reason(refused), "rpyc": _reason(error)}
            raise errors.NoTransport(host=target.host, **reasons) from error
        raise refused from error


TRANSPORTS: dict[str, Callable[[Target, Prompts | None], Board]] = {
    "auto": by_itself,
    "ssh": over_ssh,
    "rpyc": over_rpyc,
    "local": over_pipe,
}


_REASONS: dict[type[errors.RkernelError], str] = {
    errors.PortRefused: "refused",
    errors.ConnectTimeout: "no answer",
}


def _reason(error: errors.RkernelError) -> str:
    return _REASONS.get(type(error), str(error).split(". ")[0])


def _tcp(host: str, port: int) -> socket.socket:
    try:
        return tcp.connect(host, port, CONNECT_SECONDS)
    except ConnectionRefusedError as error:
        raise errors.AgentRefused(host=host, port=port) from error
    except OSError as error:
        raise errors.ConnectTimeout(host=host, port=port, seconds=CONNECT_SECONDS) from error
