"""The transports to a board, by the names of --via."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .. import errors
from ..target import RPYC_PORT, Target
from ..transports import command, local, rpyc, ssh
from ..transports.adb import client as adb
from ..transports.prompts import Prompts
from ..transports.stream import Start
from .board import Board
from .connectors import Connector, PortConnector, StreamConnector

Transport = Callable[[Target, Prompts | None], Start]


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
    if target.via in _CHOICES:
        return _CHOICES[target.via](target, prompts)
    return Board.open(target, _CONNECTORS[target.via](target, prompts))


def _over_streams(transport: Transport) -> Callable[[Target, Prompts | None], Connector]:
    """Connect over a transport that starts programs on a board."""

    def connector(target: Target, prompts: Prompts | None) -> Connector:
        start = transport(target, prompts)
        return StreamConnector(
            start=start,
            restart=transport(target, None) if prompts else start,
            python=target.python or "python3",
            host=target.name,
            attended=prompts is not None,
        )

    return connector


def _over_rpyc(target: Target, prompts: Prompts | None) -> Connector:
    """Use the board's own rpyc service, and the agent's port."""
    port = target.port or RPYC_PORT
    dial = rpyc.dial(target, prompts)
    return PortConnector(dial, service=port, host=target.host, agent_port=target.link_port)


_CONNECTORS: dict[str, Callable[[Target, Prompts | None], Connector]] = {
    "ssh": _over_streams(ssh.transport),
    "command": _over_streams(command.transport),
    "local": _over_streams(local.transport),
    "rpyc": _over_rpyc,
}


def _by_itself(target: Target, prompts: Prompts | None) -> Board:
    """Take ssh if the board's server answers and accepts us, else the board's rpyc service.

    Raises:
        UnknownHost: The host's name does not resolve; we do not try rpyc.
        WrongHostKey: The host shows a key that it must not have; we do not try rpyc.
        NoTransport: Nothing answers, neither over ssh nor over rpyc.
        RkernelError: ssh answers and fails, and no rpyc service answers: the error of ssh. Or the
            error of rpyc, whose service answers and fails.
    """
    try:
        return reach(replace(target, via="ssh"), prompts)
    except (errors.UnknownHost, errors.WrongHostKey):
        raise
    except errors.RkernelError as error:
        refused = error
    try:
        return reach(replace(target, via="rpyc", port=None), prompts)
    except (errors.NobodyAnswers, errors.NotRpyc) as error:
        if isinstance(refused, errors.NobodyAnswers):
            reasons = {"ssh": _reason(refused), "rpyc": _reason(error)}
            raise errors.NoTransport(host=target.host, **reasons) from error
        raise refused from error


def _over_adb(target: Target, prompts: Prompts | None) -> Board:
    """Run our programs on a device, or use its rpyc service if its adbd is too old for that.

    Raises:
        NoExec: It is, and no rpyc service answers.
        RkernelError: What adb's transport raises, and what a session raises.
    """
    target = replace(target, host=adb.find(target.host))  # the only device, by its name
    try:
        return Board.open(target, _over_streams(adb.transport)(target, None))  # it asks nothing
    except errors.NoExec as error:
        dial = adb.dial(target, None)
        ports = PortConnector(dial, RPYC_PORT, target.host, target.link_port, "127.0.0.1")
        try:
            return Board.open(target, ports)
        except (errors.NobodyAnswers, errors.NotRpyc):
            raise error from None


_CHOICES: dict[str, Callable[[Target, Prompts | None], Board]] = {
    "auto": _by_itself,
    "adb": _over_adb,
}

_REASONS: dict[type[errors.RkernelError], str] = {
    errors.PortRefused: "refused",
    errors.ConnectTimeout: "no answer",
}


def _reason(error: errors.RkernelError) -> str:
    return _REASONS.get(type(error), str(error).split(". ")[0])
