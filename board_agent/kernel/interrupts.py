"""Interrupts that are noticed at once, whatever the cell is doing.

Python only takes a note of SIGINT, and raises KeyboardInterrupt when its main thread looks next. A
signal that arrives between the last look and a system call is noticed when that call ends: after
the ten minutes of a sleep. So does one that another thread receives. Of a stock kernel's interrupts
that follow a print at once, 1 in 100 is late like that. Here, a second signal, which does nothing,
ends the system call; Python then looks, and goes on with the call if there was nothing to raise.
"""

import os
import select
import signal
import threading
import time
from typing import Any, List

NUDGES_AFTER = (0.02, 0.1, 0.5)  # seconds; the main thread may not have reached the call by then

_arrivals = -1  # a descriptor on which Python tells the numbers of signals


def install() -> None:
    """Have signals told to `wait`; from the main thread."""
    global _arrivals
    _arrivals, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    signal.signal(signal.SIGURG, _do_nothing)  # ignored by default: it harms nobody's children


def wait(descriptor: int) -> None:
    """Wait until a descriptor can be read; meanwhile, have the main thread notice interrupts."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.register(_arrivals, select.POLLIN)
    due: List[float] = []
    while True:
        timeout = max(0.0, due[0] - time.monotonic()) * 1000 if due else None
        ready = {number for number, _ in poll.poll(timeout)}
        now = time.monotonic()
        if _arrivals in ready and signal.SIGINT in os.read(_arrivals, 4096):
            due = [now + delay for delay in NUDGES_AFTER]
        if due and due[0] <= now:
            del due[0]
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGURG)
        if descriptor in ready:
            return


def _do_nothing(signum: int, frame: Any) -> None:
    pass
