"""The template: a process that has imported all that a kernel imports, to fork kernels from.

Such a kernel is there at once, and shares with the template the memory that neither of the two
changes. The agent and its template exchange JSON over a socket of type SOCK_SEQPACKET:

    {"ready": true}     the template's first: it has imported all
    {"start": [...]}    fork a kernel with these arguments of `kernel`, but for the first; with two
                        descriptors: of its lifeline, and for its output
    {"pid": ...}        the answer; 0 when there is no memory for it
    {"ended": PID, "status": ...}    a kernel has ended; the status is as subprocess has it
"""

import array
import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from functools import partial
from typing import Any, Dict, List, Optional, Tuple

from . import forking, title

LONGEST = 1 << 16  # bytes of a message


def main(runtime: Optional[str], descriptor: int) -> None:
    """Import all, serve the agent until it is gone; in each process that is forked, be a kernel.

    Parameters: runtime, to import from, or None for what the board has; descriptor, of the socket
    to the agent. What goes wrong with imports ends the template; a kernel will say it to people.
    """
    title.change([sys.executable, "-m", "board_agent.template"])
    forking.leave_behind([descriptor])
    forking.forget_modules()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("800")  # kernels can be started without us
    from . import kernel

    imports = contextlib.ExitStack()
    kernel.import_all(runtime, imports)
    gc.collect()
    gc.freeze()  # what is shared is not to be copied for the sake of the collector's marks
    try:
        _Template(socket.socket(fileno=descriptor)).serve()
    except forking.Child as child:
        be_kernel = child.main
    else:
        return
    be_kernel(imports=imports)


class _Template:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Serve until the agent is gone. Raises forking.Child in each process that is forked."""
        poll = select.poll()
        for sock in (self._sock, self._woken):
            poll.register(sock, select.POLLIN)
        self._tell({"ready": True})
        while True:
            ready = dict(poll.poll())
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
                self._reap()
            if self._sock.fileno() in ready:
                request, descriptors = receive(self._sock)
                if request is None:
                    break
                self._fork(request["start"], descriptors)

    def _fork(self, arguments: List[str], descriptors: List[int]) -> None:
        try:
            pid = forking.fork(partial(forking.be_kernel, arguments), descriptors)
        except OSError:
            pid = 0
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._tell({"pid": pid})

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                self._tell({"ended": pid, "status": forking.exit_status(status)})

    def _tell(self, content: Dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the agent is gone, as we shall see
            self._sock.send(json.dumps(content).encode())


def receive(sock: socket.socket) -> Tuple[Optional[Dict[str, Any]], List[int]]:
    """Receive a message and its descriptors; None at the end. Raises OSError."""
    descriptors = array.array("i")
    space = socket.CMSG_SPACE(2 * descriptors.itemsize)
    data, ancillary, _, _ = sock.recvmsg(LONGEST, space, socket.MSG_CMSG_CLOEXEC)
    for _, _, content in ancillary:
        descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return dict(json.loads(data)) if data else None, list(descriptors)
