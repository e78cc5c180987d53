"""The run: every contender is measured in every turn, so that a busy moment hits all alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from .boards import Compared
from .contenders import Contender
from .kernels import Kernel, started
from .measures import ALONE, IDLE, IN_TURN, Measure
from .other_launchers import Failed

TRIES = 2  # to start: not all that run do so each time
REST_SECONDS = 5.0  # between the last request and idleness

T = TypeVar("T")


@dataclass
class Results:
    """What came of it.

    `values` of measure and contender, turn by turn, or in `failures` why there are none; `absent`,
    why a contender does not run at all.
    """

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def run(
    board: Compared, contenders: list[Contender], wanted: Collection[str], rounds: int, idle: float
) -> Results:
    """Measure contenders against each other.

    Parameters: board; contenders; wanted, names of measures; rounds, of which one has a turn or
    more of each measure; idle, seconds to watch idle kernels for.
    """
    names = ", ".join(contender.name for contender in contenders)
    results = Results()
    alone, in_turn, at_rest = (
        [measure for measure in measures if measure.name in wanted]
        for measures in (ALONE, IN_TURN, IDLE)
    )
    if alone:
        for turn in range(rounds + 1):
            _say(f"{names}: start {turn} of {rounds}")
            for contender in _turn(contenders, turn):
                with ExitStack() as stack:
                    for kernel in _start(results, contender, board, stack):
                        for measure in alone if turn > 0 else []:  # the first fills caches
                            _take(results, measure, kernel)
    if in_turn or at_rest:
        with ExitStack() as stack:
            kernels = [k for c in contenders for k in _start(results, c, board, stack)]
            for measure in in_turn:
                _say(f"{names}: {measure.title}")
                for turn in range(rounds * measure.turns):
                    for kernel in _turn(kernels, turn):
                        _take(results, measure, kernel)
            if at_rest:
                _say(f"{names}: idle")
                _watch(results, at_rest, kernels, idle)
    return results


def _start(
    results: Results, contender: Contender, board: Compared, stack: ExitStack
) -> list[Kernel]:
    """Return a contender's kernel, or none when it does not run."""
    if contender.name in results.absent:
        return []
    for _ in range(TRIES):
        try:
            return [stack.enter_context(started(contender, board))]
        except Failed as error:
            reason = str(error)
            _say(f"{contender.name} does not run: {reason}")
    results.absent[contender.name] = reason
    return []


def _take(results: Results, measure: Measure, kernel: Kernel) -> None:
    """Measure once, unless that has failed before."""
    key = measure.name, kernel.name
    if key in results.failures:
        return
    try:
        results.values.setdefault(key, []).append(measure.take(kernel))
    except Failed as error:
        results.failures[key] = str(error)


def _watch(
    results: Results, measures: list[Measure], kernels: list[Kernel], seconds: float
) -> None:
    """Take what grows while nothing happens, as so much a minute."""

    def look() -> dict[tuple[str, str], tuple[float, float]]:
        return {(m.name, k.name): (time.monotonic(), m.take(k)) for k in kernels for m in measures}

    time.sleep(REST_SECONDS)
    first = look()
    time.sleep(seconds)
    for key, (end, value) in look().items():
        start, before = first[key]
        results.values[key] = [(value - before) / (end - start) * 60]


def _turn(items: list[T], turn: int) -> list[T]:
    """Reverse the order every other time: what one leaves behind hits its neighbours alike."""
    return items[::-1] if turn % 2 else items


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
