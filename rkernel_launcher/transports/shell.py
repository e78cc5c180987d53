"""Command lines for whatever shell an account on a host has."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def line(words: Sequence[str]) -> str:
    """Return a command line that becomes a program.

    Args:
        words: The program, which may begin with `~/`, and its arguments.
    """
    program, *rest = words
    home = "~/" if program.startswith("~/") else ""  # left bare, for the shell to know
    return f"exec {home}{shlex.join([program.removeprefix(home), *rest])}"
