"""The processes of kernels: forked from a template, or started each for itself."""

import os
import signal
import socket
from functools import partial
from typing import Any, Callable, Dict, List, Optional

from ..common import fork_protocol, home
from ..common.memory import SHORT, available
from ..link.event_loop import Loop
from ..link.messages import Start

FORK_TIMEOUT = 5.0  # seconds that the template may take to fork
POLL_SECONDS = 1.0  # seconds between looks at kernels whose template has gone
IMPORT_TIMEOUT = 60.0  # seconds that the template may take to import all


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


class KernelProcesses:
    """Start processes for kernels.

    Parameters: loop; on_change, called when processes may have ended or can be started that could
    not be.
    """

    def __init__(self, loop: Loop, on_change: Callable[[], None]) -> None:
        self._loop = loop
        self._on_change = on_change
        self._template_pid = 0  # there is only one, ever
        self._template: Optional[socket.socket] = None
        self._command: List[str] = []  # what it was made for
        self._warming = False
        self._ended: Dict[int, int] = {}  # the template's children, with their exit statuses
        self._forked: List[int] = []  # those that run

    def prepare(self, request: Start) -> bool:
        """Say whether a kernel can be started now; if not, `on_change` is called when it can.

        Parameters: request, the launcher's; its `warm_start` says whether there is to be a
        template: always, never, or where there is memory for it. Raises OSError, or ValueError
        for what the request says.
        """
        wish = request.warm_start
        wanted = wish == "always" or (wish != "never" and available(0) >= SHORT)
        if wanted and not self._template_pid and _is_plain(request):
            self._make_template(request)
        return not self._warming

    def start(self, request: Start, arguments: List[str], agent_socket: socket.socket) -> Process:
        """Start a kernel. Raises OSError, or ValueError for what the request says.

        Parameters: request, the launcher's; arguments, those of `kernel` but for the first;
        agent_socket, the kernel's end of its socket to us.
        """
        fits = self._template is not None and _is_plain(request)
        fits = fits and self._command == _command(request)
        reading, writing = os.pipe()
        output = open(reading, "rb", buffering=0)  # noqa: SIM115
        try:
            pid = self._ask_to_fork(arguments, [agent_socket.fileno(), writing]) if fits else 0
            if pid:
                return Process(pid, output, partial(self._status, pid))
            pid = _spawn("kernel", request, arguments, agent_socket, writing)
        finally:
            os.close(writing)
        return Process(pid, output, partial(_wait, pid))

    def close(self) -> None:
        """Let the template go."""
        if self._template is not None:
            self._loop.watch(self._template, None, None)
            self._template.close()
            self._template = None
            os.kill(self._template_pid, signal.SIGKILL)
            os.waitpid(self._template_pid, 0)

    def _make_template(self, request: Start) -> None:
        local, remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._command = _command(request)
        with remote, open(os.devnull, "wb") as null:
            options = bundle_options(request)
            self._template_pid = _spawn("kernel.template", request, options, remote, null.fileno())
        local.settimeout(FORK_TIMEOUT)
        self._template = local
        self._warming = True
        self._loop.watch(local, self._on_readable, None)
        self._loop.call_later(IMPORT_TIMEOUT, self._give_up)

    def _give_up(self) -> None:
        if self._warming:
            self._on_disconnect()

    def _ask_to_fork(self, arguments: List[str], descriptors: List[int]) -> int:
        """Return the pid of a kernel that was forked; 0 when there is none."""
        self._send({"start": arguments}, descriptors)
        while self._template is not None:
            said = self._read_message()
            if "pid" in said:
                if said["pid"]:
                    self._forked.append(int(said["pid"]))
                return int(said["pid"])
        return 0

    def _on_readable(self) -> None:
        self._read_message()

    def _read_message(self) -> Dict[str, Any]:
        """Take one message of the template's; nothing when it is gone."""
        assert self._template is not None
        try:
            said, _ = fork_protocol.receive(self._template)
        except OSError:
            said = None
        if said is None:
            self._on_disconnect()
            return {}
        if "ended" in said:
            self._ended[said["ended"]] = said["status"]
            self._forked.remove(said["ended"])
        self._warming = self._warming and "ready" not in said
        self._loop.call_later(0, self._on_change)  # not now: a kernel may just be being started
        return said

    def _send(self, content: Dict[str, Any], descriptors: List[int]) -> None:
        assert self._template is not None
        try:
            fork_protocol.send(self._template, content, descriptors)
        except OSError:
            self._on_disconnect()

    def _on_disconnect(self) -> None:
        """Do without a template; what it has forked is looked at from time to time."""
        self.close()
        self._warming = False
        self._loop.call_later(0, self._poll)

    def _poll(self) -> None:
        self._on_change()
        if self._forked:
            self._loop.call_later(POLL_SECONDS, self._poll)

    def _status(self, pid: int) -> Optional[int]:
        if self._template is None and pid in self._forked and not os.path.exists("/proc/%d" % pid):
            self._forked.remove(pid)
            return -signal.SIGKILL  # nobody knows; it went as its template did, most likely
        return self._ended.pop(pid, None)


def _wait(pid: int) -> Optional[int]:
    """Return the exit status of a child, or None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return fork_protocol.exit_status(status) if found else None


def _is_plain(request: Start) -> bool:
    """Say whether a kernel can be had from a template: nothing is special about its process."""
    return not request.env and not request.debugger


def _command(request: Start) -> List[str]:
    """Return what tells templates apart. Raises ValueError."""
    return [home.interpreter(request.python), *bundle_options(request)]


def bundle_options(request: Start) -> List[str]:
    """Return the arguments that say where to import from. Raises ValueError."""
    return ["--bundle", home.bundle_folder(request.bundle)] if request.bundle else []


def _spawn(
    module: str, request: Start, arguments: List[str], sock: socket.socket, output: int
) -> int:
    """Start a module of ours as a process; return its pid.

    Parameters: arguments, but for the first: the descriptor of sock, that it inherits; output, a
    descriptor for what it writes. Raises OSError, or what the request's nonsense raises.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JPY_")}
    environment.update(request.env or {})
    command = [home.interpreter(request.python), "-m", "board_agent." + module]
    command += [str(sock.fileno()), *arguments]
    sock.set_inheritable(True)
    spawn = partial(  # subprocess would take 300 kB; we are where our code is, as it should be
        os.posix_spawnp,
        command[0],
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        setsigdef=[signal.SIGPIPE],
    )
    try:
        return spawn(setsid=True)  # so that an interrupt reaches its children too, and only them
    except NotImplementedError:
        return spawn(setpgroup=0)  # an old libc
