"""Programs on a host over SSH, by the client that is there: this PC's own, or the embedded one."""

from __future__ import annotations

from pathlib import Path

from .. import os_support
from ..errors import NoProgram, SshUnusable
from ..target import Target
from .openssh import arguments, settings
from .openssh import client as openssh
from .openssh.program import OLDEST_TRIED, find
from .prompts import Prompts
from .stream import Start

# The settings whose values name hosts, accounts, programs or files.
_NAMES = (
    *("host", "hostname", "user", "hostkeyalias", "proxyjump", "proxycommand", "identityfile"),
    *("certificatefile", "bindaddress", "bindinterface", "controlpath", "identityagent"),
    "userknownhostsfile",
)


def transport(target: Target, prompts: Prompts | None) -> Start:
    """Return what starts programs on a host over SSH.

    Args:
        target: Where, as whom, and how.
        prompts: How to ask a person; None to ask nothing.

    Raises:
        RkernelError: NoProgram or SshUnusable if this PC's own client is asked for and unfit.
    """
    if engine(target) == "openssh":
        return openssh.transport(target, prompts)
    from .paramiko import client as embedded  # which takes 60 ms to load

    return embedded.transport(target, prompts)


def engine(target: Target) -> str:
    """Return the client that a target gets, "openssh" or "paramiko"."""
    if target.ssh != "auto":
        return target.ssh
    if os_support.WINDOWS:
        return "paramiko"  # until somebody has tried the other one there
    try:
        return "openssh" if find(target.ssh_command).version >= OLDEST_TRIED else "paramiko"
    except (NoProgram, SshUnusable):
        return "paramiko"


def name(target: Target) -> str:
    """Return the client that a target gets with its version, for people."""
    if engine(target) == "openssh":
        return find(target.ssh_command).name
    import paramiko

    return f"paramiko {paramiko.__version__}"


def login(target: Target) -> tuple[str, list[Path]]:
    """Return the account of a login as the keyring knows it, and the files of its private keys."""
    if engine(target) == "openssh":
        found = settings.read(find(target.ssh_command), arguments.destination(target), target.host)
        return found.account, found.identities
    from .paramiko.settings import resolve

    route = resolve(target)
    return route.account, list(route.identities)


def is_direct(target: Target) -> bool:
    """Say whether this PC itself connects to the host, and no other host or program does."""
    if engine(target) == "openssh":
        found = settings.read(find(target.ssh_command), arguments.destination(target), target.host)
        return not (found.value("proxyjump") or found.value("proxycommand"))
    from .paramiko.settings import resolve

    return resolve(target).jump is None


def names(target: Target) -> list[str]:
    """Return what the settings for a target name: hosts, accounts, programs and files."""
    if engine(target) == "openssh":
        found = settings.read(find(target.ssh_command), arguments.destination(target), target.host)
        return [value for keyword in _NAMES for value in found.values.get(keyword, [])]
    from .paramiko.settings import Route, resolve

    names: list[str] = []
    route: Route | None = resolve(target)
    while route is not None:
        names += [route.host, route.hostname, route.user, *map(str, route.identities)]
        route = route.jump
    return names
