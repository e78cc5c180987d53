"""A program and its arguments, as one line for the shell that an account has."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def line(words: Sequence[str]) -> str:
    """Return the line that has a shell become the program; any POSIX shell reads it alike.

    Args:
        words: The program and its arguments. A program in ~/ is in the account's home there.
    """
    program, *rest = words
    home = "~/" if program.startswith("~/") else ""  # left bare, for the shell to know
    return f"exec {home}{shlex.join([program.removeprefix(home), *rest])}"
