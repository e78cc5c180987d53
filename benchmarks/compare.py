"""Measure rkernel on the emulated board, beside a kernel started by hand, and print a table."""

from __future__ import annotations

import argparse
import os

from tests.support.emulator.image import SUITES, available

from .support import table
from .support.boards import emulated
from .support.contenders import (
    BY_HAND,
    OTHERS,
    OURS,
    OVER_COMMAND,
    OVER_PARAMIKO,
    OVER_RPYC,
)
from .support.header import header
from .support.measures import ALONE, IDLE, IN_TURN
from .support.rounds import run

ROUNDS = 5
IDLE_SECONDS = 60.0
QUICK_IDLE_SECONDS = 10.0
MORE = "Other measurements: python -m benchmarks link, python -m benchmarks soak."
OTHER_TRANSPORTS = [OVER_PARAMIKO, OVER_COMMAND, OVER_RPYC]
MEASURES = [*IN_TURN, *ALONE, *IDLE]


def main(arguments: list[str]) -> int:
    """Boot a board, measure, and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, epilog=MORE)
    names = [measure.name for measure in MEASURES]
    parser.add_argument("--suite", choices=SUITES, default=SUITES[0], help="the board's Debian")
    parser.add_argument("--memory", type=int, default=512, help="the board's, in MB")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--quick", action="store_true", help="one round, and no other launchers from PyPI"
    )
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=", ".join(names)
    )
    options = parser.parse_args(arguments)
    if reason := available():
        parser.exit(1, f"{reason}\n")
    others = [] if options.quick else OTHERS
    rounds, idle = (1, QUICK_IDLE_SECONDS) if options.quick else (options.rounds, IDLE_SECONDS)
    wanted = options.only or names
    load = os.getloadavg()[0]
    with emulated(options.suite, options.memory) as board:
        first = header(board, options.suite, options.memory, load)
        ours = run(board, [BY_HAND, OURS, *OTHER_TRANSPORTS], wanted, rounds, idle)
        # The others apart, since some keep the board busy, and a small one has no memory for all.
        theirs = {o.name: run(board, [BY_HAND, o], wanted, rounds, idle) for o in others}
    rows = [measure for measure in MEASURES if measure.name in wanted]
    lines = table.lines(
        rows, ours, {**dict.fromkeys((c.name for c in OTHER_TRANSPORTS), ours), **theirs}
    )
    print(first, *lines, sep="\n")
    return 0
