"""Any command of this PC that runs a program on the target, and carries its stdin and stdout."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ..errors import BoardSilent, CommandFailed, CommandSilent
from ..sanitize import escape_controls
from ..target import Target
from . import process
from .prompts import Prompts
from .stream import Start, Stream

ENDING_SECONDS = 2.0  # for a command to end once its stream has
LINES = 3  # that are quoted of what it said
PROGRAMS_OWN = (78, 79, 126, 127)  # statuses that tell of the program, see `board.bootstrap`
PLACE = "{}"  # in a command: where the program's line goes, as one word
_MORE = {"srun": "--unbuffered"}  # else it holds back what is not a whole line
_TO_A_SHELL = ("ssh", "slogin", "dbclient", "plink", "rsh")  # hand their words to a shell there


def transport(target: Target, prompts: Prompts | None) -> Start:
    """Return what starts programs by the target's command.

    What it raises: NoProgram, CommandFailed, CommandSilent.
    """
    text = target.command or ""
    command = shlex.split(text)

    def start(words: Sequence[str], first: bytes, timeout: float) -> Stream:
        attendant = _Listener()
        try:
            stream = process.start(argv(command, words), first, timeout, attendant)
        except BoardSilent as error:
            said = _last(attendant.said)
            raise CommandSilent(command=text, seconds=timeout, detail=said) from error
        if stream.answers(timeout):
            return stream
        status, stderr = stream.ending(ENDING_SECONDS)
        if status in PROGRAMS_OWN:
            return stream
        stream.close()
        raise CommandFailed(command=text, status=status, detail=_last(stderr))

    return start


class _Listener(process.Attendant):
    """Keep what a command says until it answers."""

    def __init__(self) -> None:
        self.said = ""

    def hear(self, stderr: str) -> None:
        """Take lines that it has written to stderr."""
        self.said = (self.said + stderr)[-process.MAX_STDERR :]


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return escape_controls("; ".join(lines[-LINES:])).rstrip(".") or "nothing"


def argv(command: Sequence[str], words: Sequence[str]) -> list[str]:
    """Put a program into a command.

    It goes to the end, word by word, quoted for each shell on the way that a program such as ssh
    would hand it to; or in place of a `{}`, as one word for a shell.

    Args:
        command: The command's words.
        words: The program's.
    """
    command = [word for said in command for word in _completed(said)]
    if PLACE in command:
        return [shlex.join(words) if word == PLACE else word for word in command]
    words = list(words)
    for word in command:
        if Path(word).stem.lower() in _TO_A_SHELL:
            words = [shlex.quote(one) for one in words]
    return [*command, *words]


def _completed(word: str) -> list[str]:
    """Return a word of a command, with the option that its program needs."""
    more = _MORE.get(Path(word).name)
    return [word, more] if more else [word]
