"""A cell that prints while the network is cut, and what came of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import zmq

from .fault_injection import Cut
from .kernels import Kernel, Message
from .other_launchers import Failed

LINES = 400
CODE = f"import time\nfor i in range({LINES}): print(i, flush=True); time.sleep(0.05)"
CELL_SECONDS = 30.0  # that the cell takes at most, on a slow board
SILENCE_SECONDS = 20.0  # after which nothing comes any more
LOOK_SECONDS = 0.25  # between looks at whether the process still runs


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Lines lost, lines that came twice, whether it completed, whether the next cell ran with its
    variables, and the seconds until its first line after the cut, or None if none came.
    """

    lost: int
    twice: int
    completed: bool
    next_runs: bool
    pause: float | None


@dataclass
class Cell:
    """A request that runs: its text, when each piece of it came, and whether it is over."""

    kernel: Kernel
    number: str
    text: str = ""
    arrivals: list[float] = field(default_factory=list)
    idle: bool = False
    replied: bool = False
    sent: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.last = self.sent  # when anything came

    @property
    def completed(self) -> bool:
        """Whether both idle and reply are here."""
        return self.idle and self.replied

    def read(self, deadline: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Take what comes until the deadline, unless it is over, or enough, or the process ends."""
        client = self.kernel.client
        channels = {c.socket: c for c in (client.iopub_channel, client.shell_channel)}
        poller = zmq.Poller()
        for socket in channels:
            poller.register(socket, zmq.POLLIN)
        while not self.completed and not enough():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            events = poller.poll(int(1000 * min(LOOK_SECONDS, left)) + 1)
            for socket, _ in events:
                self._take(channels[socket].get_msg(timeout=0))
            if not events and self.kernel.process.poll() is not None:
                return

    def finish(self) -> None:
        """Take what comes until it is over, or nothing comes for long."""
        patience = max(time.monotonic(), self.sent + CELL_SECONDS)
        while not self.completed and self.kernel.process.poll() is None:
            deadline = max(patience, self.last) + SILENCE_SECONDS
            if time.monotonic() >= deadline:
                return
            self.read(deadline)
        self.read(time.monotonic() + LOOK_SECONDS)

    def _take(self, message: Message) -> None:
        if message["parent_header"].get("msg_id") != self.number:
            return
        self.last = time.monotonic()
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            self.text += message["content"]["text"]
            self.arrivals.append(self.last)
        elif message["msg_type"] == "execute_reply":
            self.replied = True
        elif message["content"].get("execution_state") == "idle":
            self.idle = True


def ride(kernel: Kernel, cut: Cut) -> Outcome:
    """Run a cell, cut the network in its middle, and look what came of it.

    Raises: Failed when it does not get as far as the cut, Spared when there is nothing to cut.
    """
    token = secrets.token_hex(8)
    kernel.run(f"kept = {token!r}")
    cell = _send(kernel, CODE)
    cell.read(cell.sent + CELL_SECONDS, lambda: cell.text.count("\n") >= cut.line)
    if cell.text.count("\n") < cut.line:
        raise Failed(f"it printed {cell.text.count(chr(10))} lines before the cut")
    cut.begin(kernel)
    begun = time.monotonic()
    try:
        end = time.monotonic() + cut.seconds
        cell.read(end)
        time.sleep(max(0.0, end - time.monotonic()))  # it can be over before the cut is
    finally:
        cut.end(kernel)
    back = time.monotonic()
    cell.finish()
    lines = cell.text.split()
    following = _send(kernel, "print(kept)")
    following.read(following.sent + SILENCE_SECONDS)
    wanted = {str(number) for number in range(LINES)}
    return Outcome(
        lost=len(wanted.difference(lines)),
        twice=len(lines) - len(set(lines)),
        completed=cell.completed,
        next_runs=following.completed and following.text == f"{token}\n",
        pause=_pause(cell, begun, back, cut.instant),
    )


def _pause(cell: Cell, begun: float, back: float, instant: bool) -> float | None:
    """Return the seconds from the network's return, or from an instant cut, to the first line."""
    after = [when for when in cell.arrivals if when > back]
    if not after:
        return None
    if not instant:
        return after[0] - back
    times = [begun, *(when for when in cell.arrivals if when > begun)]  # some were under way
    _, resumed = max((later - earlier, later) for earlier, later in pairwise(times))
    return resumed - begun


def _send(kernel: Kernel, code: str) -> Cell:
    return Cell(kernel, kernel.send(code))
