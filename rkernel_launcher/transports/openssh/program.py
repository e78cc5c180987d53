"""The `ssh` of this PC: where it is, and which version."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
from typing import NamedTuple

from ...errors import NoProgram, SshUnusable

OLDEST_TRIED = (8, 4)
_SECONDS = 10.0
_VERSION = re.compile(r"OpenSSH_(?:for_Windows_)?(\d+)\.(\d+)\S*")


class Program(NamedTuple):
    """An OpenSSH client.

    Attributes:
        argv: The command that runs it, perhaps with arguments of the person's.
        version: Major and minor.
        name: What it calls itself, for people.
    """

    argv: tuple[str, ...]
    version: tuple[int, int]
    name: str


@functools.cache
def find(command: str | None) -> Program:
    """Return the OpenSSH client of this PC.

    Args:
        command: How the person wants it run; `ssh` if None.

    Raises:
        NoProgram: There is no such program.
        SshUnusable: It is not OpenSSH.
    """
    try:
        argv = tuple(shlex.split(command or "ssh"))
        said = subprocess.run(
            [argv[0], "-V"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
        ).stdout.decode("utf-8", "replace")
    except (FileNotFoundError, PermissionError) as error:
        raise NoProgram(program=argv[0]) from error
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        raise SshUnusable(program=command or "ssh", detail=str(error)) from error
    match = _VERSION.search(said)
    if match is None:
        raise SshUnusable(program=argv[0], detail="it is not OpenSSH")
    return Program(argv, (int(match[1]), int(match[2])), match[0])
