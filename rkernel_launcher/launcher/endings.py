"""How a kernel ended, or why it did not begin, as an error for people."""

from __future__ import annotations

from board_agent.link import handshake

from ..errors import KernelDied, KernelGone, NoIpykernel
from ..options import Duration

_SIGKILL = 9
_NAMES = {  # the board's, which is Linux; this PC's may lack some
    2: "SIGINT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    15: "SIGTERM",
}
_INSTALL = (
    "Install it there, for example: apt-get install python3-ipykernel, or: pip install ipykernel"
)


_WHYS = {
    handshake.NEW: "its agent has ended, as when the board was switched off",
    handshake.EXPIRED: "the link was down for longer than its orphan timeout of {orphan_timeout}",
    handshake.STOPPED: "it was ended on the board",
    handshake.REPLACED: "another launcher with the same connection file replaced it",
    handshake.TAKEN: "another launcher took it over",
    handshake.BROKEN: "the link broke the protocol",
    handshake.NO_MEMORY: "the board needed its memory for another kernel",
    handshake.FAULT: "its agent had an internal error, which its log on the board tells of",
}


_HINTS = {
    handshake.TAKEN: "Go on there, or start another one from the frontend.",
    handshake.BROKEN: "rkernel attach may take it over, with its variables.",
}


def gone(status: int, host: str, orphan_timeout: Duration) -> KernelGone:
    """Return the error for a kernel that is not there when the link is back.

    Parameters: status of the session, as the agent gives it; host; orphan_timeout.
    """
    why = _WHYS.get(status, "the board gives no reason that we know")
    hint = _HINTS.get(status, "Its variables are lost; start it again from the frontend.")
    return KernelGone(host=host, why=why.format(orphan_timeout=orphan_timeout), hint=hint)


def missing(package: str, host: str) -> NoIpykernel:
    """Return the error for a package that the kernel could not import."""
    return NoIpykernel(package=package, host=host, hint=_INSTALL)


def died(status: int, output: str) -> KernelDied:
    """Return the error for a kernel that ended by itself.

    Parameters: status, as subprocess gives it; output, the last that it wrote outside its cells.
    """
    if status < 0:
        how = f"was ended by signal {-status} ({_NAMES.get(-status, 'unknown')})"
        if -status == _SIGKILL:
            how += ", as happens when the board has no memory left"
    else:
        how = f"ended with exit status {status}"
    hint = f"Its last words: {output}" if output else "Start it again from the frontend."
    return KernelDied(how=how, hint=hint, status=status)


def exit_status(status: int) -> int:
    """Return the exit status that a shell gives for a process that ended like that."""
    return status if status >= 0 else 128 - status
