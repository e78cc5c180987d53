"""The ways to a board, by name: what carries the bytes, and what is made of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .. import errors
from ..target import RPYC_PORT, Target
from ..transports import command, local, rpyc, ssh
from ..transports.prompts import Prompts
from ..transports.stream import Start
from .board import Board
from .ways import PortWay, StreamWay, Way

Transport = Callable[[Target, Prompts | None], Start]


def reach(target: Target, prompts: Prompts | None = None) -> Board:
    """Begin a session with the board that a target names.

    Args:
        target: The target.
        prompts: How to ask a person; None to ask nothing.

    Returns:
        The board, the way to it decided.

    Raises:
        RkernelError: Those of reaching a board, see `errors`.
    """
    if target.via == "auto":
        return _by_itself(target, prompts)
    return Board.open(target, _WAYS[target.via](target, prompts))


def _over_streams(transport: Transport) -> Callable[[Target, Prompts | None], Way]:
    """Make ways of a transport that starts programs on a board."""

    def way(target: Target, prompts: Prompts | None) -> Way:
        start = transport(target, prompts)
        return StreamWay(
            start=start,
            restart=transport(target, None) if prompts else start,
            python=target.python or "python3",
            host=target.name,
            attended=prompts is not None,
        )

    return way


def _over_rpyc(target: Target, prompts: Prompts | None) -> Way:
    """Use the board's own rpyc service, and the agent's port."""
    port = target.port or RPYC_PORT
    dial = rpyc.dial(target, prompts)
    return PortWay(dial, service=port, host=target.host, agent_port=target.link_port)


_WAYS: dict[str, Callable[[Target, Prompts | None], Way]] = {
    "ssh": _over_streams(ssh.transport),
    "command": _over_streams(command.transport),
    "local": _over_streams(local.transport),
    "rpyc": _over_rpyc,
}


def _by_itself(target: Target, prompts: Prompts | None) -> Board:
    """Take ssh when it answers and lets us in, else the board's rpyc service.

    Raises:
        RkernelError: NoWay when neither does; at once what is wrong with the host's name or key.
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
            raise errors.NoWay(host=target.host, **reasons) from error
        raise refused from error


_REASONS: dict[type[errors.RkernelError], str] = {
    errors.PortRefused: "refused",
    errors.ConnectTimeout: "no answer",
}


def _reason(error: errors.RkernelError) -> str:
    return _REASONS.get(type(error), str(error).split(". ")[0])
