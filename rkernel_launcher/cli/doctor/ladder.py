"""The ladder from a kernelspec to a kernel that runs: its rungs, from the lowest to the highest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from . import kernel, machine, way
from .rung import Finding, climb
from .visit import Visit

LADDER = [*way.RUNGS, *machine.RUNGS, *kernel.RUNGS]


def examine(visit: Visit, stage: Callable[[str], Any]) -> Iterator[Finding]:
    """Look at all that lies between this PC and a kernel on a board.

    Args:
        visit: The board.
        stage: Is given a rung's title, and returns a context manager in which that rung is.

    Yields:
        What was found at each rung.
    """
    try:
        yield from climb(LADDER, visit, stage)
    finally:
        visit.close()


def answers(visit: Visit) -> Finding:
    """Look at whether a board answers and runs Python; return the first trouble, or the last."""
    try:
        found = list(climb(way.RUNGS, visit, lambda title: nullcontext()))
    finally:
        visit.close()
    last = next((finding for finding in found if finding.wrong), found[-1])
    text = last.text if last.wrong else "answers"
    return replace(last, title=visit.name, text=text)
