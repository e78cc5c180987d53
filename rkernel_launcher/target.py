"""What the user says about a board: how to reach it and how to run a kernel there.

This module declares each option of `rkernel add` that says so, once; no other module does.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import options
from .errors import BadOption, OldKernelspec
from .options import (
    BOARD_PATH,
    FLAG,
    LOCAL_PATH,
    PORT,
    VARIABLE,
    Duration,
    Kind,
    option,
    repeated,
)

AGENT_PORT = 18813
RPYC_PORT = 18812
ADB = "adb:"  # begins a host that is a device, see `transports.adb`
VIDEO_PORT = 18811  # MaixPy3's own MJPEG server uses it on the board

_ADDRESS = re.compile(
    r"(?:\[([^][]+)\]|([^][:]+))(?::([0-9]+))?"  # a name or an address, IPv6 in brackets
    r"|([^][:]*(?::[^][:]*){2,})"  # IPv6 without brackets, and so without a port
)


def split_host(text: str) -> tuple[str | None, str, int | None]:
    """Split `[USER@]HOST[:PORT]` into user, host and port.

    The last @ separates the user, since the name of a user may contain one. `adb:DEVICE` is a host
    as it stands.

    Args:
        text: An address as people write it. An IPv6 address needs brackets if a port follows.

    Returns:
        The user, the host and the port; None for a user or a port that the text does not name.

    Raises:
        ValueError: The text has another form, or no such port exists.
    """
    if text.startswith(ADB):
        if text == ADB:
            raise ValueError("it names no device")
        return None, text, None
    user, at, address = text.rpartition("@")
    match = _ADDRESS.fullmatch(address)
    if match is None or (at and not user) or user.startswith("-") or address.startswith("-"):
        raise ValueError("it is not [USER@]HOST[:PORT]")
    bracketed, plain, port, ipv6 = match.groups()
    return user or None, bracketed or plain or ipv6, PORT.read(port) if port else None


def join_host(user: str | None, host: str, port: int | None) -> str:
    """Write user, host and port as `split_host` reads them."""
    text = f"[{host}]" if ":" in host and not host.startswith(ADB) else host
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

    The help of each option explains its field; `host` is empty when this machine plays the board.
    A kernelspec can contain all of it: it holds no secret.
    """

    host: str = option(
        _HOST,
        "",
        "The board's address. With --via adb: adb:SERIAL or adb:HOST:PORT; without it, the only "
        "device.",
    )
    user: str | None = option(_USER, None, "The account on the board.", in_argv=False)
    port: int | None = option(
        PORT, None, "The port of the board's SSH server or rpyc service.", in_argv=False
    )
    via: str = option(
        options.choice("auto", "ssh", "command", "adb", "rpyc", "local"),
        "auto",
        "How to reach the board. With local, this machine plays the board.",
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
    jump: str | None = option(options.text("HOST[,HOST]"), None, "SSH jump hosts, as for ssh -J.")
    python: str | None = option(
        BOARD_PATH, None, "The Python to use on the board. '~/' is the home there."
    )
    ipykernel: str = option(
        options.choice("auto", "board", "bundled"),
        "board",
        "The board's own ipykernel, or one that rkernel sends (bundled). auto sends one if the "
        "board's own does not suffice.",
        add_default="auto",  # which decides, and writes what it decided
    )
    warm_start: str = option(
        options.choice("auto", "always", "never"),
        "auto",
        "Keep a process on the board that forks kernels, so that they start faster. auto does so "
        "if the board has memory left.",
    )
    workdir: str | None = option(BOARD_PATH, None, "The kernel's working folder on the board.")
    env: tuple[tuple[str, str], ...] = repeated(
        VARIABLE, "An environment variable for the kernel. You can repeat this option."
    )
    link_port: int = option(
        PORT, AGENT_PORT, "The agent's port on the board, if rkernel reaches the board over rpyc."
    )
    orphan_timeout: Duration = option(
        options.duration(),
        Duration.read("1h"),
        "How long a kernel waits for its PC when the PC is gone: 90s, 10m, 1h, 0, forever.",
    )
    link_timeout: Duration = option(
        options.duration(2, 600),
        Duration.read("10s"),
        "How long the board may be silent before the launcher drops the link and connects again.",
    )
    frame_rate: int = option(
        options.integer(1, 60, "use 1 to 60 pictures a second", "N"),
        30,
        "The most pictures a second in a live stream.",
    )
    video: str = option(
        options.choice("notebook", "mjpeg"),
        "notebook",
        "Where live pictures go: to the notebook only, or also to a web page on this PC (mjpeg).",
    )
    video_port: int = option(
        PORT, VIDEO_PORT, "The port of that page. Only programs on this PC can reach it."
    )
    video_path: str | None = option(
        options.matching(r"[\w-]*", "use only letters, digits, - and _", "NAME"),
        None,
        "The path of that page. Without this option the path is random, and so a secret.",
    )
    reattach: bool = option(
        FLAG, False, "Take over a kernel whose PC is gone, if the board has one."
    )
    debugger: bool = option(
        FLAG, False, "Offer JupyterLab's debugger, which needs memory on the board."
    )

    @property
    def name(self) -> str:
        """What people call the board."""
        nobody = "the only adb device" if self.via == "adb" else "this machine"
        return self.host or self.command or nobody


OPTIONS = options.declared(Target)


def from_texts(texts: Mapping[str, Any]) -> Target:
    """Return the target that the texts of its options describe.

    Args:
        texts: What a parser found, by the names of the fields: a text for an option, a tuple of
            texts for one that can be repeated, True for a flag. An option that is missing or None
            was not given.

    Raises:
        BadOption: A text is not a value of its option.
    """
    values = options.read(OPTIONS, texts)
    user, port = values.pop("user", None), values.pop("port", None)
    host, via = values.get("host", ""), values.get("via", "auto")
    if host and (via == "adb" or host.startswith(ADB)):
        if via not in ("auto", "adb"):
            raise BadOption(
                option="--host", value=host, detail=f"--via {via} reaches no adb device"
            )
        values |= {"via": "adb", "host": ADB + host.removeprefix(ADB)}
    elif host:
        host_user, values["host"], host_port = split_host(host)
        values |= {"user": user or host_user, "port": port or host_port}
    return Target(**values)


def to_argv(target: Target) -> list[str]:
    """Return the launcher's arguments for a target; `from_argv` reads them again."""
    address = join_host(target.user, target.host, target.port) if target.host else ""
    return options.to_argv(OPTIONS, {**vars(target), "host": address})


def parser(**more: Any) -> argparse.ArgumentParser:
    """Make the parser of the launcher's arguments: those that `to_argv` writes, and its own.

    Args:
        **more: Further arguments for `argparse.ArgumentParser`.
    """
    made = argparse.ArgumentParser(allow_abbrev=False, **more)
    options.add_arguments(made, OPTIONS)
    made.add_argument("-f", dest="connection_file", metavar="FILE", help="The connection file.")
    made.add_argument("--debug", action="store_true", help="Show tracebacks, and log more.")
    return made


def from_argv(argv: list[str]) -> Target:
    """Return the target of a launcher's arguments, as a kernelspec contains them.

    Raises:
        BadOption: An argument has a value that it cannot have, or lacks one.
        OldKernelspec: This version does not know an argument.
    """
    try:
        return from_arguments(*parser(exit_on_error=False).parse_known_args(argv))
    except argparse.ArgumentError as error:
        detail = "somebody changed the kernelspec by hand"
        raise BadOption(option="argv", value=str(error), detail=detail) from error


def from_arguments(arguments: argparse.Namespace, unknown: list[str]) -> Target:
    """Return the target of parsed arguments.

    Args:
        arguments: What `parser` found.
        unknown: The words that it did not know.

    Raises:
        BadOption: An argument has a value that it cannot have.
        OldKernelspec: There are unknown words.
    """
    if unknown:
        raise OldKernelspec(words=" ".join(unknown))
    return from_texts(vars(arguments))
