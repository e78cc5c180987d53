"""The processes of kernels: forked from a template, or started each for itself."""

import array
import json
import os
import signal
import socket
import subprocess
from functools import partial
from typing import Any, Callable, Dict, List, Optional

from . import home, template
from .loop import Loop
from .memory import memory_of_board

ANSWER = 5.0  # seconds that the template may take to fork
LOOK = 1.0  # seconds between looks at kernels whose template has gone
WARMING = 60.0  # seconds that the template may take to import all
WARM_MEMORY = 64 << 20  # bytes that are free where there is to be a template


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

    Parameters: loop; on_change, called when processes may have ended or can be started that could
    not be.
    """

    def __init__(self, loop: Loop, on_change: Callable[[], None]) -> None:
        self._loop = loop
        self._on_change = on_change
        self._process: "Optional[subprocess.Popen[bytes]]" = None  # the template; only one, ever
        self._template: Optional[socket.socket] = None
        self._command: List[str] = []  # what it was made for
        self._warming = False
        self._ended: Dict[int, int] = {}  # the template's children, with their exit statuses
        self._forked: List[int] = []  # those that run

    def prepare(self, request: Dict[str, Any]) -> bool:
        """Say whether a kernel can be started now; if not, `on_change` is called when it can.

        Parameters: request, the launcher's; its `warm_start` says whether there is to be a
        template: always, never, or where there is memory for it. Raises OSError, or ValueError and
        TypeError for what the request says.
        """
        wish = request.get("warm_start", "auto")
        wanted = wish == "always" or (wish != "never" and _available() >= WARM_MEMORY)
        if wanted and self._process is None and _is_plain(request):
            self._make_template(request)
        return not self._warming

    def start(
        self, request: Dict[str, Any], arguments: List[str], lifeline: socket.socket
    ) -> Process:
        """Start a kernel. Raises OSError, or ValueError and TypeError for what the request says.

        Parameters: request, the launcher's; arguments, those of `kernel` but for the first;
        lifeline, the kernel's end of it.
        """
        if self._template is not None and _is_plain(request) and self._command == _command(request):
            reading, writing = os.pipe()
            output = open(reading, "rb", buffering=0)  # noqa: SIM115
            try:
                pid = self._ask_to_fork(arguments, [lifeline.fileno(), writing])
            finally:
                os.close(writing)
            if pid:
                return Process(pid, output, partial(self._status, pid))
            output.close()
        process = _spawn(
            "kernel", request, [str(lifeline.fileno()), *arguments], lifeline, subprocess.PIPE
        )
        return Process(process.pid, process.stdout, process.poll)

    def close(self) -> None:
        """Let the template go."""
        if self._template is not None and self._process is not None:
            self._loop.watch(self._template, None, None)
            self._template.close()
            self._template = None
            self._process.kill()
            self._process.wait()

    def _make_template(self, request: Dict[str, Any]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._command = _command(request)
        with theirs:
            arguments = [str(theirs.fileno()), *runtime_options(request)]
            self._process = _spawn("template", request, arguments, theirs, subprocess.DEVNULL)
        ours.settimeout(ANSWER)
        self._template = ours
        self._warming = True
        self._loop.watch(ours, self._read, None)
        self._loop.call_later(WARMING, self._give_up)

    def _give_up(self) -> None:
        if self._warming:
            self._lose()

    def _ask_to_fork(self, arguments: List[str], descriptors: List[int]) -> int:
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
            said, _ = template.receive(self._template)
        except OSError:
            said = None
        if said is None:
            self._lose()
            return {}
        if "ended" in said:
            self._ended[said["ended"]] = said["status"]
            self._forked.remove(said["ended"])
        self._warming = self._warming and "ready" not in said
        return said

    def _send(self, content: Dict[str, Any], descriptors: List[int]) -> None:
        assert self._template is not None
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        try:
            self._template.sendmsg([json.dumps(content).encode()], [rights])
        except OSError:
            self._lose()

    def _lose(self) -> None:
        """Do without a template; what it has forked is looked at from time to time."""
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


def _is_plain(request: Dict[str, Any]) -> bool:
    """Say whether a kernel can be had from a template: nothing is special about its process."""
    return not request.get("env") and not request.get("debugger")


def _command(request: Dict[str, Any]) -> List[str]:
    """Return what tells templates apart. Raises ValueError and TypeError."""
    return [home.interpreter(request.get("python")), *runtime_options(request)]


def runtime_options(request: Dict[str, Any]) -> List[str]:
    """Return the arguments that say where to import from. Raises ValueError."""
    if not request.get("runtime"):
        return []
    return ["--runtime", home.runtime_folder(str(request["runtime"]))]


def _available() -> int:
    return memory_of_board().get("MemAvailable", 0)


def _spawn(
    module: str, request: Dict[str, Any], arguments: List[str], sock: socket.socket, output: int
) -> "subprocess.Popen[bytes]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JPY_")}
    environment.update(request.get("env") or {})
    return subprocess.Popen(
        [home.interpreter(request.get("python")), "-m", "board_agent." + module, *arguments],
        cwd=home.code(),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=[sock.fileno()],
        start_new_session=True,  # so that an interrupt reaches its children too, and only them
    )
