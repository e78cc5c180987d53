"""This machine as the board."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .. import os_support
from ..errors import NoProgram, NoPython, NotSupportedHere
from ..target import Target
from . import process
from .prompts import Prompts
from .stream import Start, Stream


def transport(target: Target, prompts: Prompts | None) -> Start:
    """Return what starts programs on this machine.

    Raises:
        NotSupportedHere: On Windows.
    """
    if os_support.WINDOWS:
        raise NotSupportedHere()

    def start(words: Sequence[str], first: bytes, timeout: float) -> Stream:
        python, *rest = words
        python = str(Path(python).expanduser()) if target.python else sys.executable
        try:
            return process.start([python, *rest], first, timeout)
        except NoProgram as error:
            raise NoPython(detail=f"there is no {python}") from error

    return start
