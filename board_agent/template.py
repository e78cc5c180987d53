"""The template: a process of the agent's that kernels are forked from.

It may have imported all that a kernel imports. Then a kernel is there at once, and shares with it
the memory that neither of the two changes. Otherwise kernels still share with it what the agent
has imported, and are spared the start of an interpreter.

The agent and its template exchange JSON over a socket of type SOCK_SEQPACKET:

    {"warm": FOLDER or null}    import what kernels import: of a runtime, or of the board's own
    {"warm": true or false}     whether that could be done
    {"start": [...]}            fork a kernel with these arguments of `kernel`, but for the first;
                                with two descriptors: of its lifeline, and of its output
    {"pid": ...}                the answer; 0 when there is no memory for it
    {"ended": PID, "status"}    a kernel has ended: its exit status, or less the signal's number
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any, Dict, List, Optional

from . import processes, title

_AGENTS_OWN = ("_bz2", "_lzma", "_hashlib", "hashlib", "hmac", "shutil")  # see `__main__`


def main(sock: socket.socket) -> None:
    """Serve the agent until it is gone; in each process that is forked, be a kernel."""
    title.change([sys.executable, "-m", "board_agent.template"])
    _go_first()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for name in _AGENTS_OWN:
        sys.modules.pop(name, None)
    template = _Template(sock)
    arguments = template.serve()
    if arguments is not None:
        from . import kernel

        sys.argv = [str(kernel.__file__), *arguments]
        title.change([sys.executable, "-m", "board_agent.kernel", *arguments])
        kernel.main(arguments, template.imports)


class _Template:
    def __init__(self, sock: socket.socket) -> None:
        self.imports: Optional[contextlib.ExitStack] = None  # open while we are warm
        self._sock = sock
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> Optional[List[str]]:
        """Serve until the agent is gone; return, in a kernel, its arguments."""
        poll = select.poll()
        for sock in (self._sock, self._woken):
            poll.register(sock, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
                self._reap()
            if self._sock.fileno() in ready:
                request, descriptors = processes.receive(self._sock)
                if request is None:
                    return None
                if "warm" in request:
                    self._tell({"warm": self._warm(request["warm"])})
                elif self._fork(descriptors):
                    return [str(descriptors[0]), *request["start"]]

    def _warm(self, runtime: Optional[str]) -> bool:
        from . import kernel

        self.imports = contextlib.ExitStack()
        try:
            kernel.import_all(runtime, self.imports)
        except Exception as error:  # what a kernel makes of it, the kernel's launcher will be told
            print("the template cannot import:", error, file=sys.stderr)
            return False
        gc.collect()
        gc.freeze()  # what is shared is not to be copied for marks of the collector
        return True

    def _fork(self, descriptors: List[int]) -> bool:
        """Fork a kernel; say whether this is it."""
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid == 0:
            self._leave(output=descriptors[1])
            return True
        for descriptor in descriptors:
            os.close(descriptor)
        self._tell({"pid": max(pid, 0)})
        return False

    def _leave(self, output: int) -> None:
        """Be a process of its own, as one that was started is."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for sock in (self._sock, self._woken, self._wake):
            sock.close()
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                self._tell({"ended": pid, "status": code})

    def _tell(self, content: Dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the agent is gone, as we shall see
            self._sock.send(json.dumps(content).encode())


def _go_first() -> None:
    """Be what goes first when memory runs out: kernels can be started without a template."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("800")
