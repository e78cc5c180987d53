"""The ways to a board: ssh, its own rpyc service, or a child process of this machine."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from . import errors, first_stage, rpyc_session, system
from .board import Board
from .rpyc_streams import ChannelStream
from .secrets import Prompts
from .target import RPYC_PORT, Target
from .tunnel import through

SESSION_SECONDS = 60.0  # for a slow board to start its Python, or to answer a question
LOOPBACK = "127.0.0.1:0"


def reach(target: Target, prompts: Prompts | None = None) -> Board:
    """Return a session with the board that `target` names, its way decided.

    Parameters: prompts, how to ask a person, or None to ask nothing.
    Raises the errors of reaching a board, see `errors`.
    """
    return WAYS[target.via](target, prompts)


def over_ssh(target: Target, prompts: Prompts | None) -> Board:
    """Log in over ssh, and start our first stage there; the link goes through the same login.

    Raises the errors of `ssh.connect` and of the first stage.
    """
    import paramiko  # only this way needs it, and it takes 60 ms

    from . import ssh

    transport = ssh.connect(target, prompts, timeout=target.link_timeout)
    try:
        channel = transport.open_session(timeout=SESSION_SECONDS)
        channel.exec_command(first_stage.command(target.python or "python3"))
        stream = ChannelStream(channel)
        first_stage.handshake(stream, SESSION_SECONDS)
        session = rpyc_session.over_stream(stream, SESSION_SECONDS)
    except BaseException:
        transport.close()
        raise

    def connect(port: int) -> socket.socket:
        where = ("127.0.0.1", port)
        try:
            channel = transport.open_channel("direct-tcpip", where, ("127.0.0.1", 0))
        except paramiko.ChannelException as error:
            raise errors.NoForwarding(host=target.host, detail=error.text) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise errors.BoardLost(detail=str(error)) from error
        return through(channel)

    def close() -> None:
        session.close()
        transport.close()

    offer_key = partial(ssh.offer_key, transport, target)
    return Board(replace(target, via="ssh"), session, LOOPBACK, connect, close, offer_key)


def over_rpyc(target: Target, prompts: Prompts | None) -> Board:
    """Use the board's own rpyc service; the link goes straight to the agent's port.

    Raises the errors of `rpyc_session.over_tcp`.
    """
    port = target.port or RPYC_PORT
    session = rpyc_session.over_tcp(target.host, port, target.link_timeout)
    session.timeout = SESSION_SECONDS
    bind = f"0.0.0.0:{target.link_port}"
    connect = partial(_tcp, target.host, target.link_timeout)
    return Board(replace(target, via="rpyc"), session, bind, connect, session.close)


def over_pipe(target: Target, prompts: Prompts | None) -> Board:
    """Let a child process of this machine play the board."""
    if system.WINDOWS:
        raise errors.NotSupportedHere()
    stream = first_stage.start(str(Path(target.python or sys.executable).expanduser()))
    try:
        first_stage.handshake(stream, SESSION_SECONDS)
        session = rpyc_session.over_stream(stream, SESSION_SECONDS)
    except BaseException:
        stream.close()
        raise
    connect = partial(_tcp, "127.0.0.1", target.link_timeout)
    return Board(target, session, LOOPBACK, connect, session.close)


def by_itself(target: Target, prompts: Prompts | None) -> Board:
    """Take ssh when it answers and lets us in, else the board's rpyc service.

    Raises NoWay when neither does, and what is wrong with a host key at once.
    """
    try:
        return over_ssh(target, prompts)
    except (errors.UnknownHost, errors.ChangedHostKey, errors.RevokedHostKey):
        raise
    except errors.RkernelError as error:
        refused = error
    try:
        return over_rpyc(replace(target, port=None), prompts)
    except (errors.PortRefused, errors.ConnectTimeout, errors.NotRpyc) as error:
        if isinstance(refused, (errors.PortRefused, errors.ConnectTimeout)):
            reasons = {"ssh": _reason(refused), "rpyc": _reason(error)}
            raise errors.NoWay(host=target.host, **reasons) from error
        raise refused from error


WAYS: dict[str, Callable[[Target, Prompts | None], Board]] = {
    "auto": by_itself,
    "ssh": over_ssh,
    "rpyc": over_rpyc,
    "local": over_pipe,
}


def _reason(error: errors.RkernelError) -> str:
    return {
        errors.PortRefused: "refused",
        errors.ConnectTimeout: "no answer",
    }.get(type(error), str(error).split(". ")[0])


def _tcp(host: str, timeout: float, port: int) -> socket.socket:
    try:
        sock = socket.create_connection((host, port), timeout)
    except ConnectionRefusedError as error:
        raise errors.PortRefused(host=host, port=port, service="the agent") from error
    except OSError as error:
        raise errors.ConnectTimeout(host=host, port=port, seconds=timeout) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
