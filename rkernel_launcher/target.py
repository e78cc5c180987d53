"""What the user says about a board: how to reach it and how to run a kernel there."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field

from .errors import BadOption

AGENT_PORT = 18813
RPYC_PORT = 18812
VIDEO_PORT = 18811  # MaixPy3's own MJPEG server uses it on the board
VIDEOS = ("notebook", "mjpeg")
VIAS = ("auto", "ssh", "rpyc", "local")
WARM_STARTS = ("auto", "always", "never")
IPYKERNELS = (
    "auto",
    "board",
    "bundled",
)  # whose packages a kernel uses: auto decides when it starts
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Target:
    """Where a board is, and how a kernel is to run on it.

    Everything here can be written to a kernelspec: it holds no secret.
    """

    host: str = ""
    user: str | None = None
    port: int | None = None
    via: str = "auto"
    identity: str | None = None
    jump: str | None = None
    python: str | None = None
    ipykernel: str = "board"
    warm_start: str = "auto"
    workdir: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    link_port: int = AGENT_PORT
    orphan_timeout: str = "1h"
    debugger: bool = False
    link_timeout: float = 10.0
    reattach: bool = False
    frame_rate: int = 30
    video: str = "notebook"
    video_port: int = VIDEO_PORT
    video_path: str | None = None

    @property
    def name(self) -> str:
        """What people call the board."""
        return self.host or "this machine"


def split_host(text: str) -> tuple[str | None, str, int | None]:
    """Return user, host and port of `[USER@]HOST[:PORT]`; an IPv6 address with a port has brackets.

    Raises BadOption.
    """
    match = re.fullmatch(
        r"(?:([^@]+)@)?(?:\[([^]]+)\]|([^@:]+|[0-9a-fA-F:.%\w]*:[^@]*:[^@]*?))(?::(\d+))?", text
    )
    if match is None or text.startswith("-"):
        raise BadOption(option="--host", value=text, detail="it is not [USER@]HOST[:PORT]")
    user, bracketed, plain, port = match.groups()
    return user, bracketed or plain, check_port("--host", port)


def join_host(user: str | None, host: str, port: int | None) -> str:
    """Return what `split_host` takes apart."""
    text = f"[{host}]" if ":" in host else host
    return (f"{user}@" if user else "") + text + (f":{port}" if port else "")


def check_port(option: str, text: str | int | None) -> int | None:
    """Return a port number. Raises BadOption."""
    if text is None:
        return None
    if not 0 < int(text) < 65536:
        raise BadOption(option=option, value=text, detail="ports are 1 to 65535")
    return int(text)


def check_timeout(value: float) -> float:
    """Return the seconds after which a silent link is given up. Raises BadOption."""
    if not 2 <= value <= 600:
        raise BadOption(option="--link-timeout", value=value, detail="it is 2 to 600 seconds")
    return value


def check_rate(value: int) -> int:
    """Return the pictures a second that are wanted of a stream. Raises BadOption."""
    if not 1 <= value <= 60:
        raise BadOption(option="--frame-rate", value=value, detail="it is 1 to 60 a second")
    return value


def check_path(text: str | None) -> str | None:
    """Return the path of the page with pictures; empty for none. Raises BadOption."""
    if text and not re.fullmatch(r"[\w-]+", text, re.ASCII):
        raise BadOption(option="--video-path", value=text, detail="it is letters, digits, - and _")
    return text


def parse_env(items: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Return the variables of `NAME=VALUE` items. Raises BadOption."""
    for item in items:
        if not re.match(r"[A-Za-z_]\w*=", item):
            raise BadOption(option="--env", value=item, detail="it is not NAME=VALUE")
    return dict(item.split("=", 1) for item in items)


def seconds(text: str) -> float:
    """Return an orphan timeout such as 90s, 10m, 1h, 0 or forever in seconds. Raises BadOption."""
    if text == "forever":
        return float("inf")
    match = re.fullmatch(r"(\d+)([smhd]?)", text)
    if match is None:
        detail = "it is not a time such as 90s, 10m, 1h, 0 or forever"
        raise BadOption(option="--orphan-timeout", value=text, detail=detail)
    return float(match[1]) * _SECONDS[match[2]]


def to_argv(target: Target) -> list[str]:
    """Return the launcher's arguments for a target; `from_argv` reads them again."""
    argv = ["--via", target.via]
    if target.host:
        argv += ["--host", join_host(target.user, target.host, target.port)]
    for name in ("identity", "jump", "python", "workdir"):
        if value := getattr(target, name):
            argv += [f"--{name}", value]
    for name, value in target.env.items():
        argv += ["--env", f"{name}={value}"]
    if target.via == "rpyc" and target.link_port != AGENT_PORT:
        argv += ["--link-port", str(target.link_port)]
    if target.ipykernel != Target.ipykernel:
        argv += ["--ipykernel", target.ipykernel]
    if target.warm_start != Target.warm_start:
        argv += ["--warm-start", target.warm_start]
    if target.orphan_timeout != Target.orphan_timeout:
        argv += ["--orphan-timeout", target.orphan_timeout]
    if target.link_timeout != Target.link_timeout:
        argv += ["--link-timeout", f"{target.link_timeout:g}"]
    if target.frame_rate != Target.frame_rate:
        argv += ["--frame-rate", str(target.frame_rate)]
    if target.video == "mjpeg":
        argv += ["--video", "mjpeg"]
        if target.video_port != VIDEO_PORT:
            argv += ["--video-port", str(target.video_port)]
        if target.video_path is not None:
            argv += ["--video-path", target.video_path]
    for name in ("debugger", "reattach"):
        if getattr(target, name):
            argv.append(f"--{name}")
    return argv


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that `to_argv` writes."""
    parser.add_argument("--via", choices=VIAS, default="auto")
    parser.add_argument("--host", default="", help="[USER@]HOST[:PORT]")
    for name in ("identity", "jump", "python", "workdir"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--ipykernel", choices=IPYKERNELS, default=Target.ipykernel)
    parser.add_argument("--warm-start", choices=WARM_STARTS, default=Target.warm_start)
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--link-port", type=int, default=AGENT_PORT)
    parser.add_argument("--orphan-timeout", default=Target.orphan_timeout)
    parser.add_argument("--link-timeout", type=float, default=Target.link_timeout)
    parser.add_argument("--frame-rate", type=int, default=Target.frame_rate)
    parser.add_argument("--video", choices=VIDEOS, default=Target.video)
    parser.add_argument("--video-port", type=int, default=VIDEO_PORT)
    parser.add_argument("--video-path")
    parser.add_argument("--debugger", action="store_true")
    parser.add_argument("--reattach", action="store_true")


def from_argv(argv: list[str]) -> Target:
    """Return the target of a launcher's arguments, as a kernelspec has them. Raises BadOption."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    try:
        arguments, _ = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        detail = "the kernelspec was changed by hand"
        raise BadOption(option="argv", value=str(error), detail=detail) from error
    return from_arguments(arguments)


def from_arguments(arguments: argparse.Namespace) -> Target:
    """Return the target of parsed arguments. Raises BadOption."""
    user, host, port = split_host(arguments.host) if arguments.host else (None, "", None)
    seconds(arguments.orphan_timeout)
    return Target(
        host=host,
        user=user,
        port=port,
        via=arguments.via,
        identity=arguments.identity,
        jump=arguments.jump,
        python=arguments.python,
        ipykernel=arguments.ipykernel,
        warm_start=arguments.warm_start,
        workdir=arguments.workdir,
        env=parse_env(arguments.env),
        link_port=arguments.link_port,
        orphan_timeout=arguments.orphan_timeout,
        debugger=arguments.debugger,
        link_timeout=check_timeout(arguments.link_timeout),
        reattach=arguments.reattach,
        frame_rate=check_rate(arguments.frame_rate),
        video=arguments.video,
        video_port=check_port("--video-port", arguments.video_port) or VIDEO_PORT,
        video_path=check_path(arguments.video_path),
    )
