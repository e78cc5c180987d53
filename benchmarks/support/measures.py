"""What is measured, and how; in the order of the table."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

from tests.support.boards import pss

from .kernels import Kernel
from .other_launchers import Failed

PASSES = 5  # in one turn: few, so that its rival's turn is near, but more than the rival's echo
PRINTS = "for i in range(50000): print('x' * 100)"
LINES = (
    "for i in range(92600): print(f'{i:08d} INFO sensor {i % 13:02d}:"
    " {i * 7919 % 1000003:07d} mV, {i * 104729 % 999983 / 999983:.12f} V')"
)
SHOW = "display({'text/plain': data}, raw=True)"
DATA = "from IPython.display import display; data = 'y' * 10_000_000"
RANDOM_DATA = (
    "from IPython.display import display; import base64, os;"
    "data = base64.b64encode(os.urandom(7_500_000)).decode()"
)
SPIN = "print('on', flush=True)\nwhile True: pass"


@dataclass(frozen=True)
class Target:
    """The most that is allowed: `factor` times by hand, and `plus`."""

    factor: float
    plus: float = 0.0


@dataclass(frozen=True)
class Measure:
    """One row of the table.

    `take` measures a kernel once; a round has so many `turns` of that.
    """

    name: str
    title: str
    unit: str
    target: Target | None
    take: Callable[[Kernel], float]
    turns: int = 1


def _start(kernel: Kernel) -> float:
    return kernel.start_seconds


def _memory(kernel: Kernel, *, sshd: bool) -> float:
    pids = [p.pid for p in kernel.on_board() if sshd or not p.name.startswith("sshd")]
    return sum(pss(kernel.board.shell, pids))


def _passes(kernel: Kernel) -> float:
    times = []
    for _ in range(PASSES):
        start = time.perf_counter()
        kernel.run("pass")
        times.append(time.perf_counter() - start)
    return median(times) * 1000


def _output(kernel: Kernel, *, code: str, characters: int, before: str = "pass") -> float:
    kernel.run(before)
    start = time.perf_counter()
    came = kernel.run(code)
    seconds = time.perf_counter() - start
    if came != characters:
        raise Failed(f"{characters - came} of {characters} characters did not come")
    return seconds


def _interrupt(kernel: Kernel) -> float:
    number = kernel.send(SPIN)
    kernel.until(lambda message: message["msg_type"] == "stream", number)
    start = time.perf_counter()
    interrupt = kernel.interrupt()
    kernel.until_idle(number)
    seconds = time.perf_counter() - start
    kernel.reply(interrupt, "control")
    if kernel.reply(number)["content"].get("ename") != "KeyboardInterrupt":
        raise Failed("the cell ended in another way")
    return seconds * 1000


def _cpu_on_board(kernel: Kernel) -> float:
    return sum(process.cpu for process in kernel.on_board())


def _cpu_on_pc(kernel: Kernel) -> float:
    return sum(process.cpu for process in kernel.on_pc())


# Of a kernel that has just been started, while no other runs.
ALONE = [
    Measure("start", "Cold start to the first result", "s", Target(1.15), _start),
    Measure(
        "memory",
        "Board memory (PSS) without sshd's",
        "MB",
        Target(1.0, 6.0),
        partial(_memory, sshd=False),
    ),
    Measure("memory-sshd", "Board memory with sshd's", "MB", None, partial(_memory, sshd=True)),
]

# Of all kernels in turn.
IN_TURN = [
    Measure("pass", "Round trip of `pass`", "ms", Target(1.10), _passes, turns=10),
    Measure(
        "prints",
        "5 MB of prints, all alike",
        "s",
        Target(1.0),
        partial(_output, code=PRINTS, characters=50000 * 101),
    ),
    Measure(
        "lines",
        "5 MB of prints, as of a log",
        "s",
        Target(1.0),
        partial(_output, code=LINES, characters=92600 * 54),
    ),
    Measure(
        "display",
        "10 MB display, all alike",
        "s",
        Target(1.0),
        partial(_output, code=SHOW, characters=10_000_000, before=DATA),
    ),
    Measure(
        "random",
        "10 MB display, incompressible",
        "s",
        Target(1.0),
        partial(_output, code=SHOW, characters=10_000_000, before=RANDOM_DATA),
    ),
    Measure(
        "interrupt",
        "Interrupt of `while True: pass`",
        "ms",
        Target(1.10),
        _interrupt,
        turns=2,
    ),
]

# Of all kernels at once, while nobody asks them for anything: seconds so far.
IDLE = [
    Measure("idle-board", "Idle CPU a minute, board", "s", Target(1.0, 0.1), _cpu_on_board),
    Measure("idle-pc", "Idle CPU a minute, PC", "s", Target(1.0, 0.1), _cpu_on_pc),
]
