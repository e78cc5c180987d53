"""A rung of a ladder: one thing to look at, and what was found."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from ...errors import RkernelError

_T = TypeVar("_T")


@dataclass(frozen=True)
class Finding:
    """What was found at a rung.

    Attributes:
        title: The rung's.
        text: What was found: a few words, or what is wrong.
        remedy: What to do about it; empty if nothing is wrong.
        wrong: The name of the error; empty if nothing is wrong.
        seconds: How long it took.
        log: What the code that looked wrote to the log.
    """

    title: str
    text: str
    remedy: str = ""
    wrong: str = ""
    seconds: float = 0.0
    log: Sequence[str] = field(default_factory=list)


class Rung(NamedTuple, Generic[_T]):
    """One thing to look at.

    Attributes:
        title: A word or two, for people.
        look: Looks at it. It returns what it found, or None if there is nothing to find. An error
            that it raises ends the ladder; of one that it returns, the ladder goes on.
    """

    title: str
    look: Callable[[_T], str | RkernelError | None]


def climb(rungs: Sequence[Rung[_T]], subject: _T, stage: Callable[[str], Any]) -> Iterator[Finding]:
    """Look at one thing after the other, until the next would make no sense.

    Args:
        rungs: What to look at.
        subject: What each gets.
        stage: Is given a rung's title, and returns a context manager in which that rung is.

    Yields:
        What was found.
    """
    for rung in rungs:
        begun = time.monotonic()
        with recorded() as log, stage(rung.title):
            ended = False
            found: str | RkernelError | None
            try:
                found = rung.look(subject)
            except RkernelError as error:
                found, ended = error, True
            except Exception as error:  # a mistake of ours: what was found so far counts the more
                log.append(traceback.format_exc())
                found, ended = RkernelError(detail=repr(error)), True
        seconds = time.monotonic() - begun
        if isinstance(found, RkernelError):
            text = found.message.format(**found.facts)
            remedy = found.remedy.format(**found.facts)
            yield Finding(rung.title, text, remedy, type(found).__name__, seconds, log)
        elif found is not None:
            yield Finding(rung.title, found, seconds=seconds, log=log)
        if ended:
            return


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Yield a list that gets what rkernel logs meanwhile in this thread."""
    lines: list[str] = []
    handler = _Recorder(lines)
    logger = logging.getLogger("rkernel_launcher")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _Recorder(logging.Handler):
    """Put messages into a list."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._lines.append(record.getMessage())
