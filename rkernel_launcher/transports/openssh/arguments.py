"""What is said to `ssh`: where to, as whom, and what the person's settings may not change.

All that is about keys, hosts, proxies and algorithms is left to those settings.
"""

from __future__ import annotations

from ... import os_support
from ...target import Target
from .program import Program
from .settings import Settings

CONNECT_SECONDS = 15  # unless the settings say otherwise
ALIVE = (15, 3)  # seconds between questions to a silent server; how many, until it is given up
_LONGEST_ALIVE = 60  # seconds, for the person's own setting to stand

# What each one of the person's settings would do to a stream of bytes, see ssh_config(5).
_OPTIONS = [
    ((0, 0), "RequestTTY=no"),
    ((0, 0), "ControlMaster=no"),  # theirs is used while it answers; we never become one
    ((0, 0), "RemoteCommand=none"),
    ((8, 7), "SessionType=default"),
    ((8, 7), "StdinNull=no"),
    ((8, 7), "ForkAfterAuthentication=no"),
    ((0, 0), "PermitLocalCommand=no"),  # its output would be in the stream
    ((0, 0), "ClearAllForwardings=yes"),
    ((0, 0), "Tunnel=no"),
    ((0, 0), "ForwardX11=no"),
    ((0, 0), "ForwardAgent=no"),
    ((0, 0), "EscapeChar=none"),
    ((0, 0), "VisualHostKey=no"),
    ((0, 0), "LogLevel=DEBUG1"),  # says whether a key waits for a person, and what a server says
    ((8, 5), "LogVerbose=none"),
]


def destination(target: Target) -> list[str]:
    """Return the arguments that say where to go, and as whom."""
    words = []
    if target.user:
        words += ["-l", target.user]
    if target.port:
        words += ["-p", str(target.port)]
    if target.identity:
        words += ["-i", target.identity, "-o", "IdentitiesOnly=yes"]
    if target.jump:
        words += ["-J", target.jump]
    if target.host_key == "accept-new":
        words += ["-o", "StrictHostKeyChecking=accept-new"]
    return words


def options(program: Program, settings: Settings, asks: bool, avoid_master: bool) -> list[str]:
    """Return the options under which ssh carries a stream.

    Args:
        program: The client.
        settings: The person's, for this host.
        asks: Whether ssh may ask, through `askpass`.
        avoid_master: Whether a connection that the person shares is not to be used.
    """
    said = [option for since, option in _OPTIONS if program.version >= since]
    said.append(f"BatchMode={'no' if asks else 'yes'}")
    if settings.number("connecttimeout") == 0:
        said.append(f"ConnectTimeout={CONNECT_SECONDS}")
    if not 0 < settings.number("serveraliveinterval") <= _LONGEST_ALIVE:
        said += [f"ServerAliveInterval={ALIVE[0]}", f"ServerAliveCountMax={ALIVE[1]}"]
    if avoid_master or os_support.WINDOWS:
        said.append("ControlPath=none")
    return ["-T", *(word for option in said for word in ("-o", option))]
