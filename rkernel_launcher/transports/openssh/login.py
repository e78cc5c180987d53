"""What `ssh` tells at LogLevel DEBUG1 while it logs in."""

from __future__ import annotations

import re

_ACCEPTED = re.compile(r"debug1: Server accepts key: (.*?)((?: \S+){2})( agent)?(?: explicit)?\Z")
_METHOD = re.compile(r'Authenticated to .* using "(.+)"\.')

_OURS = re.compile(
    r"debug\d: |OpenSSH_\S+, |Authenticated to .* using |Transferred: |Bytes per second"
)


def describe(stderr: str) -> str:
    """Return with what ssh logged in, for people.

    Args:
        stderr: What it has written there at LogLevel DEBUG1.
    """
    method = key = ""
    for line in stderr.splitlines():
        if match := _ACCEPTED.match(line):
            key = f" {match[1]}{match[2]}" + (" of the SSH agent" if match[3] else "")
        elif match := _METHOD.match(line):
            method = match[1]
    if not method:
        return "over a connection that was open already"
    return f"with {method}{key if 'publickey' in method else ''}"


def without_debug(stderr: str) -> str:
    """Return what is not of ssh but of the program that it runs, as far as that can be told."""
    lines = stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not _OURS.match(line))
