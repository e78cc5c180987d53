"""The processes of kernels, as the agent has them: forked from its template, or of their own."""

import array
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import home
from .loop import Loop
from .memory import memory_of_board

ANSWER = 5.0  # seconds that the template may take to fork
LOOK = 1.0  # seconds between looks at kernels whose template has gone
LONGEST = 1 << 16  # bytes of a message
WARM_MEMORY = 64 << 20  # bytes that are free where a template is kept that has imported all


class Process:
    """A kernel's process.

    Parameters: pid; output, the file to read it from, which does not block; poll, returns the exit
    status as subprocess gives it, or None while the process runs.
    """

    def __init__(self, pid: int, output: Any, poll: Callable[[], Optional[int]]) -> None:
        self.pid = pid
        self.output = output
        os.set_blocking(output.fileno(), False)
        self._poll = poll
        self.returncode: Optional[int] = None

    def poll(self) -> Optional[int]:
        """Return the exit status, or None while the process runs."""
        if self.returncode is None:
            self.returncode = self._poll()
        return self.returncode


class Processes:
    """Start processes for kernels.

    Parameters: loop; template, the agent's end of the socket to its template; on_change, called
    when processes may have ended or can be started that could not be.
    """

    def __init__(self, loop: Loop, template: socket.socket, on_change: Callable[[], None]) -> None:
        self._loop = loop
        self._template: Optional[socket.socket] = template  # None once it is gone
        self._on_change = on_change
        self._warmth: Optional[Dict[str, Any]] = None  # what the template was asked to import
        self._warming = False
        self._ended: Dict[int, int] = {}  # processes of the template, with their exit statuses
        self._forked: List[int] = []
        template.settimeout(ANSWER)
        loop.watch(template, self._read, None)

    def prepare(self, request: Dict[str, Any]) -> bool:
        """Say whether a kernel can be started now; if not, `on_change` is called when it can.

        Parameters: request, the launcher's: `warm_start` says whether a template is to import all
        that such kernels import: always, never, or where there is memory for it.
        """
        if self._template is None or self._warmth is not None or not _is_plain(request):
            return not self._warming
        wish = request.get("warm_start", "auto")
        if wish == "never" or (wish != "always" and _available() < WARM_MEMORY):
            return True
        self._warmth = {"warm": _runtime(request)}
        self._warming = True
        self._send(self._warmth)
        return False

    def start(
        self, request: Dict[str, Any], arguments: List[str], lifeline: socket.socket
    ) -> Process:
        """Start a kernel. Raises OSError, or ValueError for what the request says.

        Parameters: request, the launcher's; arguments, those of `kernel` but for the first;
        lifeline, the kernel's end of it.
        """
        fits = self._warmth is None or self._warmth == {"warm": _runtime(request)}
        if self._template is not None and fits and _is_plain(request):
            reading, writing = os.pipe()
            try:
                pid = self._fork(arguments, [lifeline.fileno(), writing])
            finally:
                os.close(writing)
            if pid:
                output = open(reading, "rb", buffering=0)  # noqa: SIM115
                return Process(pid, output, lambda: self._status(pid))
            os.close(reading)
        return _spawn(request, arguments, lifeline)

    def close(self) -> None:
        """Let the template go."""
        if self._template is not None:
            self._loop.watch(self._template, None, None)
            self._template.close()
            self._template = None

    def _fork(self, arguments: List[str], descriptors: List[int]) -> int:
        """Return the pid of a kernel that was forked; 0 when there is none."""
        self._send({"start": arguments}, descriptors)
        while self._template is not None:
            said = self._receive()
            if "pid" in said:
                if said["pid"]:
                    self._forked.append(int(said["pid"]))
                return int(said["pid"])
        return 0

    def _read(self) -> None:
        if self._receive():
            self._on_change()

    def _receive(self) -> Dict[str, Any]:
        """Take one message of the template's; nothing when it is gone."""
        assert self._template is not None
        try:
            said, _ = receive(self._template)
        except OSError:
            said = None
        if said is None:
            self._lose()
            return {}
        if "ended" in said:
            self._ended[said["ended"]] = said["status"]
            self._forked.remove(said["ended"])
        elif "warm" in said:
            self._warming = False
            if not said["warm"]:
                self._lose()
        return said

    def _send(self, content: Dict[str, Any], descriptors: "List[int] | Tuple[()]" = ()) -> None:
        assert self._template is not None
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        try:
            self._template.sendmsg([json.dumps(content).encode()], [rights] if descriptors else [])
        except OSError:
            self._lose()

    def _lose(self) -> None:
        """Do without the template; what it has forked is looked at from time to time."""
        self.close()
        self._warming = False
        self._loop.call_later(0, self._look)

    def _look(self) -> None:
        self._on_change()
        if self._forked:
            self._loop.call_later(LOOK, self._look)

    def _status(self, pid: int) -> Optional[int]:
        if self._template is None and pid in self._forked and not os.path.exists("/proc/%d" % pid):
            self._forked.remove(pid)
            return -signal.SIGKILL  # nobody knows; it went as its template did, most likely
        return self._ended.pop(pid, None)


def receive(sock: socket.socket) -> Tuple[Optional[Dict[str, Any]], List[int]]:
    """Receive a message and its descriptors; None at the end. Raises OSError."""
    descriptors = array.array("i")
    space = socket.CMSG_SPACE(2 * descriptors.itemsize)
    data, ancillary, _, _ = sock.recvmsg(LONGEST, space, socket.MSG_CMSG_CLOEXEC)
    for _, _, content in ancillary:
        descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return dict(json.loads(data)) if data else None, list(descriptors)


def _is_plain(request: Dict[str, Any]) -> bool:
    """Say whether a kernel is to have the agent's interpreter and environment, and no debugger."""
    python = home.interpreter(request.get("python"))
    same = os.path.realpath(python) == os.path.realpath(sys.executable)
    return same and not request.get("env") and not request.get("debugger")


def _runtime(request: Dict[str, Any]) -> Optional[str]:
    """Return the folder of the runtime that a kernel imports from. Raises ValueError."""
    return home.runtime_folder(str(request["runtime"])) if request.get("runtime") else None


def _available() -> int:
    return memory_of_board().get("MemAvailable", 0)


def _spawn(request: Dict[str, Any], arguments: List[str], lifeline: socket.socket) -> Process:
    argv = [home.interpreter(request.get("python")), "-m", "board_agent.kernel"]
    argv += [str(lifeline.fileno()), *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JPY_")}
    environment.update(request.get("env") or {})
    process = subprocess.Popen(
        argv,
        cwd=home.code(),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[lifeline.fileno()],
        start_new_session=True,  # so that an interrupt reaches its children too, and only them
    )
    return Process(process.pid, process.stdout, process.poll)
