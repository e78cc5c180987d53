"""What processes there are, on this PC and on the board, and what they take."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tests.support.emulator.machine import Machine

TICKS = 100  # a second, in /proc of every Linux for ARM or x86
END_SECONDS = 5.0  # between asking a process to end and making it end
KTHREADD = 2  # the parent of the kernel's own threads


@dataclass(frozen=True)
class Process:
    """A process; `cpu`, in seconds, includes that of its children that have ended."""

    pid: int
    parent: int
    name: str
    cpu: float


def on_board(machine: Machine) -> dict[int, Process]:
    """Return the board's processes, without its kernel's threads and those that look here."""
    shell, *lines = machine.run("echo $$; cat /proc/[0-9]*/stat 2>/dev/null; true").splitlines()
    found = [_parse(line) for line in lines]
    passing = {KTHREADD, int(shell)}
    return {p.pid: p for p in found if p.pid not in passing and p.parent not in passing}


def marked(mark: str) -> dict[int, Process]:
    """Return the processes of this PC that have `mark` in their environment."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                process = _parse((folder / "stat").read_text())
                found[process.pid] = process
        except OSError:
            pass  # it has just ended, or is another user's
    return found


def resident(pid: int) -> float:
    """Return the resident set size of a process of this PC, in MB; 0 when it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def end_marked(mark: str) -> None:
    """End the processes of this PC that have `mark` in their environment."""

    def send(number: int, pids: Collection[int]) -> None:
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    _end(lambda: marked(mark), send)


def end_others(machine: Machine, kept: Collection[int]) -> None:
    """End the board's processes that are not among those to be kept."""

    def others() -> set[int]:
        return on_board(machine).keys() - set(kept)

    def send(number: int, pids: Collection[int]) -> None:
        machine.run(f"kill -{number} {' '.join(map(str, pids))}", check=False)

    _end(others, send)


def _end(left: Callable[[], Collection[int]], send: Callable[[int, Collection[int]], None]) -> None:
    """Ask what is left to end, then make it end. Raises TimeoutError when even that fails."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if pids := left():
            send(number, pids)
        deadline = time.monotonic() + END_SECONDS
        while (pids := left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        if not pids:
            return
    raise TimeoutError(f"processes that do not end: {sorted(pids)}")


def _parse(stat: str) -> Process:
    """Read a line of /proc/PID/stat, see proc(5)."""
    head, _, tail = stat.rpartition(")")
    pid, _, name = head.partition(" (")
    fields = tail.split()
    return Process(int(pid), int(fields[1]), name, sum(map(int, fields[11:15])) / TICKS)
