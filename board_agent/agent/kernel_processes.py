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
POLL_SECONDS = 1.0  # seconds between polls of kernels whose template has gone
IMPORT_TIMEOUT = 60.0  # seconds that the template may take to import all


class Process:
    """A kernel's process.

    Args:
        pid: Its id.
        output: A file to read what it writes, made non-blocking here.
        poll: Returns the exit status as subprocess gives it, or None while the process runs.
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

    Args:
        loop: The agent's.
        on_change: Called when processes may have ended, or can be started that could not be.
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
        """Return whether a kernel can start now; if not, `on_change` is called when it can.

        Args:
            request: The launcher's; its `warm_start` says whether to keep a template: always,
                never, or where there is memory for it.

        Raises:
            OSError: The template cannot be started.
            ValueError: The request makes no sense.
        """
        wish = request.warm_start
        wanted = wish == "always" or (wish != "never" and available(0) >= SHORT)
        if wanted and not self._template_pid and _is_plain(request):
            self._make_template(request)
        return not self._warming

    def start(self, request: Start, arguments: List[str], agent_socket: socket.socket) -> Process:
        """Fork a kernel from the template if that fits, else start one by itself.

        Args:
            request: The launcher's.
            arguments: Those of `kernel.main`, but for the first.
            agent_socket: The kernel's end of its socket to the agent.

        Raises:
            OSError: It cannot be started.
            ValueError: The request makes no sense.
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
        """End the template."""
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
        """Return the pid of a kernel that the template forked; 0 if it did not."""
        self._send({"start": arguments}, descriptors)
        while self._template is not None:
            reply = self._read_message()
            if "pid" in reply:
                if reply["pid"]:
                    self._forked.append(int(reply["pid"]))
                return int(reply["pid"])
        return 0

    def _on_readable(self) -> None:
        self._read_message()

    def _read_message(self) -> Dict[str, Any]:
        """Return one message of the template; an empty one when it is gone."""
        assert self._template is not None
        try:
            message, _ = fork_protocol.receive(self._template)
        except OSError:
            message = None
        if message is None:
            self._on_disconnect()
            return {}
        if "ended" in message:
            self._ended[message["ended"]] = message["status"]
            self._forked.remove(message["ended"])
        self._warming = self._warming and "ready" not in message
        self._loop.call_later(0, self._on_change)  # not now: a kernel may just be being started
        return message

    def _send(self, content: Dict[str, Any], descriptors: List[int]) -> None:
        assert self._template is not None
        try:
            fork_protocol.send(self._template, content, descriptors)
        except OSError:
            self._on_disconnect()

    def _on_disconnect(self) -> None:
        """Do without a template; poll what it has forked."""
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
    """Return whether a template can fork the kernel: nothing is special about its process."""
    return not request.env and not request.debugger


def _command(request: Start) -> List[str]:
    """Return what tells templates apart.

    Raises:
        ValueError: The request names no bundle of ours.
    """
    return [home.interpreter(request.python), *bundle_options(request)]


def bundle_options(request: Start) -> List[str]:
    """Return the arguments that say where to import from.

    Raises:
        ValueError: The request names no bundle of ours.
    """
    return ["--bundle", home.bundle_folder(request.bundle)] if request.bundle else []


def _spawn(
    module: str, request: Start, arguments: List[str], sock: socket.socket, output: int
) -> int:
    """Start a module of ours, by its name within board_agent; return the process's pid.

    Args:
        module: Such as `kernel`.
        request: The launcher's.
        arguments: But for the first, the descriptor of `sock`.
        sock: Inherited by the process.
        output: The descriptor that it writes to.

    Raises:
        OSError: It cannot be started.
        ValueError: The request makes no sense.
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
