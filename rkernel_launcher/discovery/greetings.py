"""What a port says first: which program answers there, and on which system. Without I/O.

Source: RFC 4253, section 4.2, for SSH; `board.rpyc.packets` for rpyc. What comes is hostile until
proven otherwise: it counts only within `MAX_BYTES`.
"""

from __future__ import annotations

import re

from rpyc.core import consts

from ..board.rpyc.packets import HEADER, Dialect, Malformed, Packet, body_size, decode, encode

MAX_BYTES = 4096  # that a host may say before it has said what it is
_BANNER = re.compile(rb"^SSH-(?:2\.0|1\.99)-([\x21-\x7e][\x20-\x7e]{0,254})\r?\n", re.MULTILINE)
_KINDS = (consts.MSG_REQUEST, consts.MSG_REPLY, consts.MSG_EXCEPTION)
_SYSTEMS = ("Debian", "Raspbian", "Ubuntu", "Alpine", "FreeBSD")

# The first request of a session, which a SlaveService of either dialect answers or refuses with a
# packet. It runs nothing there.
_ROOT = (consts.HANDLE_GETROOT, (consts.LABEL_TUPLE, ()))
RPYC_QUESTION = encode(Packet(Dialect.UP_TO_5, consts.MSG_REQUEST, 1, _ROOT))


def ssh_software(data: bytes) -> str | None:
    """Return what an SSH server calls itself, such as "OpenSSH_9.2p1 Debian-2+deb12u3".

    Args:
        data: All that the port has said so far. A server may send other lines first.

    Returns:
        The printable ASCII after the version of the protocol; None as long as no whole banner came.
    """
    found = _BANNER.search(data[:MAX_BYTES])
    return found[1].decode("ascii").rstrip() if found else None


def system_of(software: str) -> str:
    """Return what the name of an SSH server tells about its board: a system, or its server.

    Args:
        software: What `ssh_software` returned.
    """
    program, _, comment = software.partition(" ")
    for system in _SYSTEMS:
        if comment.startswith(system):
            return system
    return "dropbear" if program.startswith("dropbear") else program.partition("_")[0]


def is_rpyc(data: bytes) -> bool | None:
    """Say whether the answer to `RPYC_QUESTION` is rpyc's.

    Args:
        data: All that the port has said so far.

    Returns:
        None as long as too little came to tell.
    """
    if len(data) < HEADER.size:
        return None
    header, body = data[: HEADER.size], data[HEADER.size :]
    try:
        size = body_size(header)
        if size > MAX_BYTES or header[-1]:  # it would compress a large packet only
            return False
        if len(body) < size:
            return None
        return decode(header, body[:size]).kind in _KINDS
    except Malformed:
        return False
