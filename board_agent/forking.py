"""Processes that are forked from the agent, and leave it behind."""

import contextlib
import gc
import os
import signal
import sys
from functools import partial
from typing import Callable, Collection, List, Optional

from . import title

_AGENTS_OWN = ("_bz2", "_lzma", "_hashlib", "hashlib", "hmac", "shutil")  # see `__main__`


class Child(BaseException):
    """Leaves the agent behind in a process that was forked from it.

    Parameters: main, what this process is to do.
    """

    def __init__(self, main: Callable[..., None]) -> None:
        self.main = main


def fork(main: Callable[..., None], descriptors: List[int]) -> int:
    """Fork; return the pid, and raise Child in the new process. Raises OSError.

    Parameters: main, what the new process is to do, called with duplicates of the descriptors.
    """
    pid = os.fork()
    if pid:
        return pid
    raise Child(partial(main, *map(os.dup, descriptors)))


def leave_behind(descriptors: Collection[int]) -> None:
    """Be a process of its own, in one that was forked; but for the descriptors all are closed."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    gc.collect()  # what has sockets closes them, now
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in descriptors:
            with contextlib.suppress(OSError):
                os.close(int(name))


def forget_modules() -> None:
    """Have modules imported anew that the agent has without what takes memory."""
    for name in _AGENTS_OWN:
        sys.modules.pop(name, None)


def be_kernel(
    arguments: List[str],
    lifeline: int,
    output: int,
    imports: Optional[contextlib.ExitStack] = None,
) -> None:
    """Be a kernel, until it is shut down.

    Parameters: arguments, of `kernel`, but for the first; lifeline and output, descriptors;
    imports, of `kernel.import_all`, where that has been done.
    """
    leave_behind([lifeline, output])
    if imports is None:
        forget_modules()
    os.setsid()
    for name in [name for name in os.environ if name.startswith("JPY_")]:
        del os.environ[name]
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    from . import kernel

    sys.argv = [str(kernel.__file__), str(lifeline), *arguments]
    title.change([sys.executable, "-m", "board_agent.kernel", *sys.argv[1:]])
    kernel.main(sys.argv[1:], imports)


def exit_status(status: int) -> int:
    """Return what subprocess makes of a wait status: the signal that ended it is negative."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
