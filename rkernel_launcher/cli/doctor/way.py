"""The rungs from the kernelspec to a Python that runs on the board.

A launcher goes this way in one go, and so does the doctor: the board is reached once, by the same
code. If that fails, the error says which of these rungs it is about.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

from ... import errors
from ...board import condition
from ...errors import RkernelError
from ...target import Target
from ...transports import ssh
from ...transports.adb import server as adb
from .. import kernelspecs
from .rung import Rung
from .visit import Visit

_PYTHON_SECONDS = 30.0  # for the Python of a kernelspec to say its version
_VERSION = "import rkernel_launcher, importlib.metadata as m; print(m.version('rkernel'))"
_PROBE_SECONDS = 1.5
_PROBED = (22, 80, 443, 9, 18811, 18812)  # ports that tell, open or closed, that a host is on
_LOGGED_IN = "ssh: logged in "  # what the clients log of it

_NAME = (errors.UnknownHost, errors.NoDevice, errors.SeveralDevices)
_PORT = (
    *(errors.NobodyAnswers, errors.SshBusy, errors.NoCommonAlgorithm, errors.NoTransport),
    *(errors.ProxyFailed, errors.JumpFailed, errors.NotRpyc),
    *(errors.AdbFailed, errors.DeviceNotReady),
)
_HOST_KEY = (errors.UnknownHostKey, errors.WrongHostKey, errors.KnownHostsUnusable)
_LOGIN = (errors.NotLetIn, errors.SshFailed, errors.OnThisPc)
_PYTHON = (errors.NoPython, errors.OldPython)


def this_pc(visit: Visit) -> str:
    """Look at the kernelspec, the Python that it starts, and the program that reaches the board."""
    found = []
    if visit.name:
        argv = _argv(visit.name)
        visit.target = kernelspecs.target_of(visit.name)
        visit.python = argv[0]
        found.append(f"kernelspec {visit.name}, rkernel {_version(visit.name, visit.python)}")
    target = visit.wanted
    if target.via in ("ssh", "auto"):
        account, _ = ssh.login(target)
        found.append(f"{ssh.name(target)} to {account}")
    elif target.via == "adb":
        adb.connect()
        found.append("an adb server runs")
    elif target.command:
        found.append(f"the command is {target.command}")
    return "; ".join(found) or "reaching the board needs no program here"


def _argv(name: str) -> list[str]:
    """Return the argv of a kernelspec."""
    entry = kernelspecs.find().get(name.lower())
    if entry is None or (entry.spec and entry.metadata is None):
        raise errors.NoSuchKernel(name=name)
    argv = entry.spec.get("argv")
    if not isinstance(argv, list) or len(argv) < 3:
        detail = _why_unreadable(entry.folder / "kernel.json")
        raise errors.KernelspecBroken(path=entry.folder, detail=detail)
    return [str(word) for word in argv]


def _why_unreadable(path: Path) -> str:
    try:
        json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        return str(error).rstrip(".")
    return "it has no argv"


def _version(name: str, python: str) -> str:
    """Return the version of rkernel that a kernelspec's Python has."""
    try:
        run = subprocess.run(
            [python, "-c", _VERSION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PYTHON_SECONDS,
        )
        detail = run.stderr.strip().rpartition("\n")[2]
    except (OSError, subprocess.TimeoutExpired) as error:
        run, detail = None, getattr(error, "strerror", None) or str(error)
    if run is None or run.returncode:
        raise errors.KernelspecWithoutPython(name=name, python=python, detail=detail.rstrip("."))
    return run.stdout.strip()


def name(visit: Visit) -> str | None:
    """Look at whether the board's name means an address, or a device."""
    _raise(visit, _NAME)
    target = visit.wanted
    if target.via == "adb":
        return f"the device is {target.host}"
    host = _hostname(target)
    if not host:
        return None
    addresses = _addresses(host)
    if not addresses:
        return f"another host looks {host} up"  # a jump host, or the program of a ProxyCommand
    return f"{host} is {', '.join(addresses)}" if addresses != [host] else f"{host} is an address"


def port(visit: Visit) -> str | None:
    """Look at whether a server answers."""
    try:
        _raise(visit, _PORT)
    except errors.NobodyAnswers as error:
        raise _why_silent(visit.wanted, error) from error
    if visit.wanted.via not in ("ssh", "rpyc", "auto"):
        return None
    return "a server answers"


def host_key(visit: Visit) -> str | None:
    """Look at whether the server is the right one."""
    _raise(visit, _HOST_KEY)
    return "known" if visit.wanted.via == "ssh" else None


def login(visit: Visit) -> str | None:
    """Look at whether the server lets us in."""
    _raise(visit, _LOGIN)
    target = visit.wanted
    if target.via == "rpyc":
        return "none: anyone on the network can run code there"
    if target.via != "ssh":
        return None
    told = [line.partition(_LOGGED_IN)[2] for line in visit.log if _LOGGED_IN in line]
    return " ".join([f"by {ssh.name(target)}", *told[-1:]])


def command(visit: Visit) -> str:
    """Look at whether a program starts there and talks with us."""
    error = visit.failure()
    if error is not None:
        if not isinstance(error, _PYTHON):
            raise error
        return "the board runs our commands"
    begun = time.time()
    visit.condition = condition.look(visit.board().session)
    visit.looked = (begun, time.time())
    shell = visit.condition.shell
    return f"the board runs our commands{f', by {shell}' if shell else ''}"


def python(visit: Visit) -> str:
    """Look at whether that program is a Python that will do."""
    visit.board()
    return visit.wanted.python or "python3"


RUNGS = [
    Rung("This PC", this_pc),
    Rung("Name", name),
    Rung("Port", port),
    Rung("Host key", host_key),
    Rung("Login", login),
    Rung("Command", command),
    Rung("Python", python),
]


def _raise(visit: Visit, ours: tuple[type[RkernelError], ...]) -> None:
    """Raise the reason why the board cannot be reached, if it is one of these."""
    if isinstance(error := visit.failure(), ours):
        raise error


def _hostname(target: Target) -> str:
    """Return the name or address that the PC connects to; empty if it connects to none."""
    if target.via in ("ssh", "auto"):
        account, _ = ssh.login(target)
        return account.rpartition(":")[0].rpartition("@")[2]
    return target.host if target.via == "rpyc" else ""


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _why_silent(target: Target, error: errors.NobodyAnswers) -> RkernelError:
    """Return what a port that does not answer is due to, as far as can be seen from here."""
    if isinstance(error, errors.SshSilent) or not {"host", "port"} <= set(error.facts):
        return error
    if target.via != "rpyc" and ssh.server(target) is None:
        return error  # it may be about another host
    host, port = _hostname(target), error.facts["port"]
    addresses = _addresses(host)
    if isinstance(error, errors.PortRefused):
        ours = any(ip_address(a.partition("%")[0]).is_loopback for a in addresses)
        return errors.PortNotForwarded(host=host, port=port) if ours else error
    if addresses and _is_on(addresses[0], [p for p in _PROBED if p != port]):
        return errors.PortFiltered(host=host, port=port)
    return error


def _is_on(address: str, ports: Sequence[int]) -> bool:
    """Say whether a host accepts or refuses a connection to one of its ports."""

    def answers(port: int) -> bool:
        try:
            socket.create_connection((address, port), _PROBE_SECONDS).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(len(ports)) as pool:
        return any(pool.map(answers, ports))
