"""Measure how soon a kernel is there on an emulated board: a stock one, and ours, cold and warm."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from statistics import median

from tests.support.emulator.image import SUITES

from .support.boards import Compared, emulated
from .support.contenders import BY_HAND, OURS, Contender, ours
from .support.kernels import Kernel, started
from .support.table import markdown

ROUNDS = 5
STOCK = "by hand, the stock kernel"
COLD = "without a template"
FIRST = "the first, with its template"
NEXT = "the next, as after a restart"
BEGIN, END = "reached the board", "the kernel is ready"  # in the launcher's log


def main(arguments: list[str]) -> int:
    """Boot a board, start kernels in turn, and print a table; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks starts", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, default=SUITES[0], help="of the board")
    parser.add_argument("--memory", type=int, default=512, help="MB that the board has")
    parser.add_argument("--ipykernel", choices=("board", "bundled"), default="bundled")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    cold, warm = (_contender(options.ipykernel, wish) for wish in ("never", "always"))
    results: dict[str, list[float]] = {}
    kernels: dict[str, list[float]] = {}
    with emulated(options.suite, options.memory) as board:
        for turn in range(options.rounds + 1):
            for names in ({STOCK: BY_HAND}, {COLD: cold}, {FIRST: warm, NEXT: warm}):
                with ExitStack() as stack:  # the next one starts while the first is there
                    for name, contender in names.items():
                        kernel = stack.enter_context(started(contender, board))
                        if turn:  # the first round fills caches
                            results.setdefault(name, []).append(kernel.start_seconds)
                            if contender is not BY_HAND:
                                kernels.setdefault(name, []).append(_of_kernel(board, kernel))
    print(f"{options.suite}, {options.memory} MB, ipykernel: {options.ipykernel}; medians in s\n")
    head = ["", "to the first result", "of the stock kernel", "of a cold one"]
    head += ["the kernel alone", "of a cold one"]
    print(*markdown(head, [_row(name, results, kernels) for name in results]), sep="\n")
    return 0


def _contender(ipykernel: str, warm_start: str) -> Contender:
    options = ["--via", "ssh", "--host", "board"]
    options += ["--ipykernel", ipykernel, "--warm-start", warm_start]
    return Contender(OURS.name, lambda board, file: ours(board, file, *options))


def _of_kernel(board: Compared, kernel: Kernel) -> float:
    """Return the seconds from asking for a kernel to its being ready, by the launcher's log."""
    folder = Path(board.environment["JUPYTER_RUNTIME_DIR"], "rkernel-logs")
    lines = (folder / kernel.log.name).read_text("utf-8").splitlines()
    begin, end = (
        next(datetime.fromisoformat(line[:23].replace(",", ".")) for line in lines if word in line)
        for word in (BEGIN, END)
    )
    return (end - begin).total_seconds()


def _row(name: str, results: dict[str, list[float]], kernels: dict[str, list[float]]) -> list[str]:
    whole = median(results[name])
    row = [name, f"{whole:.2f}", f"{whole / median(results[STOCK]):.2f}"]
    if name not in kernels:
        return [*row, "", "", ""]
    alone = median(kernels[name])
    row += [f"{whole / median(results[COLD]):.2f}", f"{alone:.2f}"]
    return [*row, f"{alone / median(kernels[COLD]):.2f}"]
