"""How a kernel ended, or why it did not start, as an error for people."""

from __future__ import annotations

from board_agent.link import handshake

from ..board import package_managers
from ..errors import KernelDied, KernelGone, NoIpykernel, RkernelError
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
_INSTALL = "Install ipykernel there with the board's package manager, or: pip install ipykernel"


_WHYS = {
    handshake.NEW: "its agent has ended, for example because the board was off",
    handshake.EXPIRED: "the link was down for longer than its orphan timeout of {orphan_timeout}",
    handshake.STOPPED: "somebody ended it on the board",
    handshake.REPLACED: "another launcher with the same connection file replaced it",
    handshake.TAKEN: "another launcher took it over",
    handshake.BROKEN: "what came over the link broke the protocol",
    handshake.NO_MEMORY: "the board needed its memory for another kernel",
    handshake.FAULT: "its agent had an internal error (see the agent's log on the board)",
}


_AGAIN = "Its variables are lost. Start it again from the frontend."
_HINTS = {
    handshake.NEW: f"{_AGAIN} If kernels end whenever you log out there, run there, as root: "
    "loginctl enable-linger, and the name of your account.",
    handshake.TAKEN: "Use it there, or start another one from the frontend.",
    handshake.BROKEN: "Perhaps rkernel attach can take it over, with its variables.",
}


def gone(status: int, host: str, orphan_timeout: Duration) -> KernelGone:
    """Return the error for a kernel that is gone when the link is back.

    Args:
        status: The session's in the agent's resume reply: a constant of `handshake`.
        host: The board's name for people.
        orphan_timeout: How long the kernel waited for us.
    """
    why = _WHYS.get(status, "the board gives a reason that this rkernel does not know")
    hint = _HINTS.get(status, _AGAIN)
    return KernelGone(host=host, why=why.format(orphan_timeout=orphan_timeout), hint=hint)


def missing(package: str, host: str) -> RkernelError:
    """Return the error for a package, or a part of Python, that the kernel could not import."""
    error = package_managers.trimmed(f"No module named '{package}'", None, [])
    return error or NoIpykernel(package=package, host=host, hint=_INSTALL)


def died(status: int, output: str, out_of_memory: bool | None = None) -> KernelDied:
    """Return the error for a kernel that ended by itself.

    Args:
        status: The process's exit status, or minus the number of the signal that ended it, as in
            `subprocess.Popen.returncode`.
        output: The last that the kernel wrote outside its cells.
        out_of_memory: Whether Linux ended it for lack of memory; None if nobody knows.
    """
    if status < 0:
        how = f"was ended by signal {-status} ({_NAMES.get(-status, 'unknown')})"
        if out_of_memory:
            how = "was ended by Linux, because the board had no memory left"
        elif -status == _SIGKILL and out_of_memory is None:
            how += ", which happens when the board has no memory left"
    else:
        how = f"ended with exit status {status}"
    hint = f"Its last output: {output}" if output else "Start it again from the frontend."
    return KernelDied(how=how, hint=hint, status=status)


def exit_status(status: int) -> int:
    """Return a shell's exit status for a process that ended like that.

    Args:
        status: As for `died`.

    Returns:
        0 to 127 for an exit status, 128 plus its number for a signal.
    """
    return status if status >= 0 else 128 - status
