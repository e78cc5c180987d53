"""Any command of this PC that runs a program on the target, and carries its stdin and stdout."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ..target import Target
from . import process
from .prompts import Prompts
from .stream import Start, Stream

PLACE = "{}"  # in a command: where the program's line goes, as one word
_TO_A_SHELL = ("ssh", "slogin", "dbclient", "plink", "rsh")  # hand their words to a shell there


def transport(target: Target, prompts: Prompts | None) -> Start:
    """Return what starts programs by the target's command."""
    command = shlex.split(target.command or "")

    def start(words: Sequence[str], first: bytes, timeout: float) -> Stream:
        return process.start(argv(command, words), first, timeout)

    return start


def argv(command: Sequence[str], words: Sequence[str]) -> list[str]:
    """Put a program into a command.

    It goes to the end, word by word, quoted for each shell on the way that a program such as ssh
    would hand it to; or in place of a `{}`, as one word for a shell.

    Args:
        command: The command's words.
        words: The program's.
    """
    if PLACE in command:
        return [shlex.join(words) if word == PLACE else word for word in command]
    words = list(words)
    for word in command:
        if Path(word).stem.lower() in _TO_A_SHELL:
            words = [shlex.quote(one) for one in words]
    return [*command, *words]
