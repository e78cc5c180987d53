"""How `ssh` got in, as it tells while it does so."""

from __future__ import annotations

import re

_ACCEPTED = re.compile(r"debug1: Server accepts key: (.*?)((?: \S+){2})( agent)?(?: explicit)?\Z")
_METHOD = re.compile(r'Authenticated to .* using "(.+)"\.')


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
