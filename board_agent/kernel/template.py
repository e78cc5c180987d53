"""The template: a process that has imported all that a kernel imports, to fork kernels from.

Such a kernel starts sooner, and shares with the template the memory that neither of the two
changes. The agent runs it as `python -m board_agent.kernel.template FD [--bundle FOLDER]`, where FD
is a socket to the agent; `fork_protocol` describes what the two say to each other.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from typing import Any, Dict, List, Optional

from ..common.fork_protocol import exit_status, receive, send
from . import process_title


def main(argv: List[str]) -> None:
    """Import all and serve the agent until it is gone; in each process that is forked, be a kernel.

    A failed import ends the template: a kernel that starts by itself reports it to people.

    Args:
        argv: The arguments, from FD on.
    """
    from . import main as kernel

    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("800")  # kernels can be started without us
    imports = contextlib.ExitStack()
    kernel.import_all(argv[2] if argv[1:] else None, imports)
    gc.collect()
    gc.freeze()  # what is shared is not to be copied for the sake of the collector's marks
    arguments = _Template(socket.socket(fileno=int(argv[0]))).serve()
    if arguments is None:
        imports.close()
    else:
        sys.argv = [str(kernel.__file__), *arguments]
        process_title.set_process_title([sys.executable, "-m", "board_agent.kernel", *arguments])
        kernel.main(arguments, imports)


class _Template:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._stamp = _stamp()
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> Optional[List[str]]:
        """Serve until the agent is gone; in a forked kernel, return its arguments."""
        poll = select.poll()
        for sock in (self._sock, self._woken):
            poll.register(sock, select.POLLIN)
        self._send({"ready": True})
        while True:
            ready = dict(poll.poll())
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
                self._reap()
            if self._sock.fileno() in ready:
                request, descriptors = receive(self._sock)
                if request is None:
                    return None
                if self._fork(*descriptors):
                    return [str(descriptors[0]), *request["start"]]

    def _fork(self, agent_socket: int, output: int) -> bool:
        """Fork; return whether this is the kernel."""
        try:
            pid = os.fork() if self._stamp == _stamp() else -1
        except OSError:
            pid = -1
        if pid == 0:
            self._leave(output)
            return True
        os.close(agent_socket)
        os.close(output)
        self._send({"pid": max(pid, 0)})
        return False

    def _leave(self, output: int) -> None:
        """Become a process of its own, like one that was started."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for sock in (self._sock, self._woken, self._wake):
            sock.close()
        os.setsid()
        for number in (1, 2):
            os.dup2(output, number)
        os.close(output)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                self._send({"ended": pid, "status": exit_status(status)})

    def _send(self, content: Dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the agent is gone, as we shall see
            send(self._sock, content)


def _stamp() -> List[int]:
    """Return what changes when packages are installed."""
    found = []
    for path in sys.path:
        with contextlib.suppress(OSError):
            found.append(os.stat(path).st_mtime_ns)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
