"""Measure what is left of a running cell when the network to the emulated board is cut."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack

from tests.support.emulator.image import SUITES, available

from .support import table
from .support.boards import Compared, fragile
from .support.contenders import (
    BY_HAND,
    OTHERS,
    OURS,
    OVER_COMMAND,
    OVER_PARAMIKO,
    OVER_RPYC,
    Contender,
)
from .support.fault_injection import CUTS, LONG, Cut, Spared
from .support.header import header
from .support.kernels import Kernel, started
from .support.other_launchers import Failed
from .support.outages import LINES, Outcome, ride

TRIES = 2  # to start, before nothing more is expected of a contender
CONTENDERS = [OURS, OVER_PARAMIKO, OVER_COMMAND, OVER_RPYC, BY_HAND, *OTHERS]
HEAD = [
    "cut",
    "kernel",
    f"lines lost of {LINES}",
    "the cell completes",
    "the next cell runs",
    "first line after the cut",
]


def main(arguments: list[str]) -> int:
    """Boot a board, cut it off, and print what came of it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks link", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, default=SUITES[0], help="the board's Debian")
    parser.add_argument("--memory", type=int, default=512, help="the board's, in MB")
    parser.add_argument("--long", action="store_true", help="be cut for 5 minutes, too")
    _add_choice(parser, "--cut", [cut.name for cut in [*CUTS, *LONG]], "this cut only")
    _add_choice(parser, "--kernel", [c.name for c in CONTENDERS], "this kernel only")
    options = parser.parse_args(arguments)
    if reason := available():
        parser.exit(1, f"{reason}\n")
    cuts = [*CUTS, *(LONG if options.long or options.cut else [])]
    cuts = [cut for cut in cuts if cut.name in (options.cut or [cut.name])]
    contenders = [c for c in CONTENDERS if c.name in (options.kernel or [c.name])]
    load = os.getloadavg()[0]
    with fragile(options.suite, options.memory) as board:
        first = header(board, options.suite, options.memory, load)
        rows = {c.name: list(_rows(board, c, cuts)) for c in contenders}
    by_cut = [row for rows_of_cut in zip(*rows.values(), strict=True) for row in rows_of_cut]
    print(first, *table.markdown(HEAD, by_cut), sep="\n")
    return 0


def _add_choice(parser: argparse.ArgumentParser, name: str, choices: list[str], what: str) -> None:
    parser.add_argument(
        name,
        action="append",
        choices=choices,
        metavar="NAME",
        help=f"{what}; can be repeated: {', '.join(choices)}",
    )


def _rows(board: Compared, contender: Contender, cuts: list[Cut]) -> Iterator[list[str]]:
    """Give a row for each cut; a kernel that came through is used again."""
    kernel: Kernel | None = None
    failures = 0
    with ExitStack() as stack:
        for cut in cuts:
            survived = False
            try:
                if failures < TRIES:
                    kernel = kernel or stack.enter_context(started(contender, board))
                    outcome = ride(kernel, cut)
                    cells, failures = _cells(outcome), 0
                    survived = outcome.completed and outcome.next_runs
            except Spared as error:
                cells, survived = [f"- ({error})", "", "", ""], True
            except Failed as error:
                cells, failures = [f"does not run: {error}", "", "", ""], failures + 1
            if not survived:
                stack.close()
                kernel = None
            row = [cut.title, contender.name, *cells]
            print(*row, sep=" | ", file=sys.stderr, flush=True)
            yield row


def _cells(outcome: Outcome) -> list[str]:
    return [
        f"{outcome.lost}" + (f" ({outcome.twice} twice)" if outcome.twice else ""),
        "yes" if outcome.completed else "never",
        "yes" if outcome.next_runs else "no",
        "never" if outcome.pause is None else f"{outcome.pause:.1f} s",
    ]
