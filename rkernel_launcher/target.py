"""What the user says about a board: how to reach it and how to run a kernel there.

Each option of `rkernel add` that says so is declared here, once, and nowhere else.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import options
from .errors import BadOption, OldKernelspec
from .options import FLAG, LOCAL_PATH, PORT, VARIABLE, Duration, Kind, option, repeated

AGENT_PORT = 18813
RPYC_PORT = 18812
VIDEO_PORT = 18811  # MaixPy3's own MJPEG server uses it on the board

_ADDRESS = re.compile(
    r"(?:\[([^][]+)\]|([^][:]+))(?::([0-9]+))?"  # a name or an address, IPv6 in brackets
    r"|([^][:]*(?::[^][:]*){2,})"  # IPv6 without brackets, and so without a port
)


def split_host(text: str) -> tuple[str | None, str, int | None]:
    """Return user, host and port of `[USER@]HOST[:PORT]`; an IPv6 address with a port has brackets.

    The last @ divides, since users may have one. Raises ValueError.
    """
    user, at, address = text.rpartition("@")
    match = _ADDRESS.fullmatch(address)
    if match is None or (at and not user) or user.startswith("-") or address.startswith("-"):
        raise ValueError("it is not [USER@]HOST[:PORT]")
    bracketed, plain, port, ipv6 = match.groups()
    return user or None, bracketed or plain or ipv6, PORT.read(port) if port else None


def join_host(user: str | None, host: str, port: int | None) -> str:
    """Return what `split_host` takes apart."""
    text = f"[{host}]" if ":" in host else host
    return (f"{user}@" if user else "") + text + (f":{port}" if port else "")


def _checked_host(text: str) -> str:
    if text:
        split_host(text)
    return text


_HOST = Kind(_checked_host, "[USER@]HOST[:PORT]")
_USER = options.matching("(?!-).*", "it begins with a dash", "NAME")


@dataclass(frozen=True)
class Target:
    """Where a board is, and how a kernel is to run on it.

    Everything here can be written to a kernelspec: it holds no secret.
    """

    host: str = option(_HOST, "", "The board.")
    user: str | None = option(_USER, None, "The account on the board.", in_argv=False)
    port: int | None = option(
        PORT, None, "The port of its SSH server or rpyc service.", in_argv=False
    )
    via: str = option(
        options.choice("auto", "ssh", "command", "rpyc", "local"),
        "auto",
        "How to reach it; local lets this machine play the board.",
    )
    command: str | None = option(
        options.text("COMMAND"),
        None,
        "With --via command: what runs a program there, such as 'docker exec -i dev'. "
        "The program's words follow it, or take the place of {}.",
    )
    ssh: str = option(
        options.choice("auto", "openssh", "paramiko"),
        "auto",
        "The SSH client: this PC's own, or the one that comes with rkernel; auto prefers the "
        "first.",
    )
    ssh_command: str | None = option(
        options.text("COMMAND"),
        None,
        "How this PC's SSH client is called, such as 'ssh -F FILE'.",
        variable="RKERNEL_SSH",
    )
    host_key: str = option(
        options.choice("settings", "accept-new"),
        "settings",
        "What to do with a host key: as the ssh settings say, or accept it if the host is new.",
    )
    identity: str | None = option(LOCAL_PATH, None, "The private key to log in with.")
    jump: str | None = option(
        options.text("HOST[,HOST]"), None, "SSH hosts on the way, as ssh -J takes them."
    )
    python: str | None = option(options.text("PATH"), None, "The board's Python.")
    ipykernel: str = option(
        options.choice("auto", "board", "bundled"),
        "board",
        "The board's own ipykernel, or one that is sent along; auto sends it if need be.",
        add_default="auto",  # which decides, and writes what it decided
    )
    warm_start: str = option(
        options.choice("auto", "always", "never"),
        "auto",
        "Keep a process that kernels are forked from; auto does so where memory is left.",
    )
    workdir: str | None = option(options.text("FOLDER"), None, "Where kernels work on the board.")
    env: tuple[tuple[str, str], ...] = repeated(
        VARIABLE, "A variable of the kernel's environment; can be repeated."
    )
    link_port: int = option(
        PORT, AGENT_PORT, "The port for the link to a board that is reached over rpyc."
    )
    orphan_timeout: Duration = option(
        options.duration(),
        Duration.read("1h"),
        "How long a kernel waits for a PC that is gone: 90s, 10m, 1h, 0, forever.",
    )
    link_timeout: Duration = option(
        options.duration(2, 600),
        Duration.read("10s"),
        "How long a board may be silent until its link is given up and dialled anew.",
    )
    frame_rate: int = option(
        options.integer(1, 60, "it is 1 to 60 a second", "N"),
        30,
        "Pictures a second of a live stream, at most.",
    )
    video: str = option(
        options.choice("notebook", "mjpeg"),
        "notebook",
        "Where live pictures go: to the notebook, or in addition to a page on this PC.",
    )
    video_port: int = option(PORT, VIDEO_PORT, "The port of that page, on this PC's loopback.")
    video_path: str | None = option(
        options.matching(r"[\w-]*", "it is letters, digits, - and _", "NAME"),
        None,
        "Its path; random, and so a secret, if not given.",
    )
    reattach: bool = option(FLAG, False, "Take over a kernel whose PC is gone, if there is one.")
    debugger: bool = option(FLAG, False, "Offer JupyterLab's debugger; takes memory.")

    @property
    def name(self) -> str:
        """What people call the board."""
        return self.host or self.command or "this machine"


OPTIONS = options.declared(Target)


def from_texts(said: Mapping[str, Any]) -> Target:
    """Return the target of what a parser found, by the names of the fields. Raises BadOption.

    Parameters: said, the texts of options, tuples of them where an option can be repeated, and
    True for flags; what is missing or None is not given.
    """
    values = options.read(OPTIONS, said)
    user, port = values.pop("user", None), values.pop("port", None)
    if host := values.get("host"):
        said_user, values["host"], said_port = split_host(host)
        values |= {"user": user or said_user, "port": port or said_port}
    return Target(**values)


def to_argv(target: Target) -> list[str]:
    """Return the launcher's arguments for a target; `from_argv` reads them again."""
    address = join_host(target.user, target.host, target.port) if target.host else ""
    return options.to_argv(OPTIONS, {**vars(target), "host": address})


def parser(**more: Any) -> argparse.ArgumentParser:
    """Return what reads the launcher's arguments: what `to_argv` writes, and its own.

    Parameters: more, for the parser.
    """
    made = argparse.ArgumentParser(allow_abbrev=False, **more)
    options.add_arguments(made, OPTIONS)
    made.add_argument("-f", dest="connection_file", metavar="FILE", help="The connection file.")
    made.add_argument("--debug", action="store_true", help="Show tracebacks, and log more.")
    return made


def from_argv(argv: list[str]) -> Target:
    """Return the target of a launcher's arguments, as a kernelspec has them.

    Raises BadOption or OldKernelspec.
    """
    try:
        return from_arguments(*parser(exit_on_error=False).parse_known_args(argv))
    except argparse.ArgumentError as error:
        detail = "the kernelspec was changed by hand"
        raise BadOption(option="argv", value=str(error), detail=detail) from error


def from_arguments(arguments: argparse.Namespace, unknown: list[str]) -> Target:
    """Return the target of parsed arguments, and of those that the parser did not know.

    Raises BadOption or OldKernelspec.
    """
    if unknown:
        raise OldKernelspec(words=" ".join(unknown))
    return from_texts(vars(arguments))
