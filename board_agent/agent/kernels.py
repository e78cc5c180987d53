"""The kernels of a board: processes, each with a folder of its own for its sockets."""

import binascii
import json
import os
import signal
import socket
import time
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Optional, Protocol, Set

from ..common.home import remove_tree
from ..common.memory import memory_of_process, was_out_of_memory
from ..link.event_loop import GuardedLoop, Loop
from ..link.messages import (
    Exited,
    Failed,
    KernelInfo,
    Missing,
    Note,
    Output,
    Ready,
    Start,
)
from .kernel_processes import KernelProcesses, bundle_options

KILL_AFTER = 1.5  # seconds between asking a kernel to end and making it end
MAX_OUTPUT_KEPT = 1 << 16  # bytes of what a kernel wrote outside its cells
OUTPUT_READ_SIZE = 1 << 14  # bytes of that in one message: messages go before all else
BACKLOG_POLL_SECONDS = 0.05  # between polls of a link that is behind
DISCONNECTED_POLL_SECONDS = 2.0  # the same while it is down
MAX_FORMER_KEYS = 8  # that are remembered
MAX_LINE = 4096  # bytes that a kernel says to us at once
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
SOCKETS = (*CHANNELS, "video")  # the last is there once the kernel shows pictures
_TEMPORARY = os.environ.get("TMPDIR", "/tmp")  # where a debugger's kernel keeps its cells


class CannotStart(Exception):
    """The kernel's process cannot be started."""


class Owner(Protocol):
    """What a kernel needs of the session that it belongs to."""

    @property
    def connected(self) -> bool:
        """Whether the launcher is connected."""

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the launcher that more should wait in the kernel."""

    def send(self, message: Any) -> None:
        """Send the launcher a message."""

    def on_video(self) -> None:
        """Note that the kernel shows pictures from now on."""

    def on_fault(self, error: Exception) -> None:
        """Note a fault in our code that concerns this kernel."""


class Kernel:
    """One kernel process and what belongs to it.

    Args:
        loop: The agent's.
        folder: Made here, closed to other users, removed with the kernel.
        request: The launcher's.
        owner: The session that it belongs to.
        processes: Starts its process.

    Raises:
        CannotStart: The folder or the process cannot be made.
    """

    def __init__(
        self, loop: Loop, folder: str, request: Start, owner: Owner, processes: KernelProcesses
    ) -> None:
        self.id = binascii.hexlify(os.urandom(3)).decode()
        self.key = request.key
        self.request = request
        self.owner = owner
        self.since = time.monotonic()
        self.ending = self.over = False
        self._loop = GuardedLoop(loop, lambda error: self.owner.on_fault(error))
        self._folder = folder
        self._output = b""
        self._line_buffer = b""  # of what the kernel says, until it is a whole line
        self._ready: Optional[Ready] = None
        self.shows_pictures = False  # from when on its channel for video is there
        self._former_keys: List[str] = []  # what is spooled may be signed with any of them
        self._key_changes = 0  # that the kernel has not confirmed
        try:
            self._socket, remote = socket.socketpair()
        except OSError as error:
            raise CannotStart(str(error)) from None
        try:
            os.mkdir(folder, 0o700)
            arguments = _arguments(request, _write_connection_file(folder, request))
            self._process = processes.start(request, arguments, remote)
        except (OSError, ValueError) as error:
            self._socket.close()
            remove_tree(folder)
            raise CannotStart(str(error)) from None
        finally:
            remote.close()
        self._socket.setblocking(False)
        self._pipe = self._process.output
        self._loop.watch(self._socket, self._read_socket, None)
        self._watch_output()

    @property
    def pid(self) -> int:
        """The process id, which is also the kernel's process group."""
        return self._process.pid

    @property
    def ready(self) -> bool:
        """Whether the kernel serves its channels."""
        return self._ready is not None

    def describe(
        self,
        owner: str = "",
        state: str = "ending",
        lease: Optional[float] = 0.0,
        away: Optional[float] = 0.0,
    ) -> KernelInfo:
        """Return what a person wants to know; by default, of a kernel that has no session.

        Args:
            owner: Who started it; empty for the one in the request.
            state: `starting`, `idle`, `busy` or `ending`.
            lease: Seconds that it waits for its launcher; None means for ever.
            away: Seconds since its launcher was connected; None while it is.
        """
        return KernelInfo(
            kernel=self.id,
            pid=self.pid,
            owner=owner or self.request.owner,
            age=time.monotonic() - self.since,
            state=state,
            memory=memory_of_process(self.pid),
            away=away,
            lease=lease,
        )

    def connect(self, channel: str) -> socket.socket:
        """Return a non-blocking connection to one of the kernel's channels.

        Raises:
            OSError: The kernel does not serve it.
        """
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)  # a kernel that takes no connections must not stop the agent
        try:
            sock.connect("%s/k-%d" % (self._folder, SOCKETS.index(channel) + 1))
        except (OSError, ValueError):
            sock.close()
            raise OSError("the kernel does not serve %s" % channel) from None
        return sock

    def interrupt(self) -> None:
        """Interrupt what the kernel is doing."""
        self._signal(signal.SIGINT)

    def end(self) -> None:
        """Send the kernel SIGTERM, and a moment later SIGKILL."""
        if not self.ending:
            self.ending = True
            self._signal(signal.SIGTERM)
            self._loop.call_later(KILL_AFTER, self.kill)

    def kill(self) -> None:
        """End the kernel at once, if it still runs."""
        self._signal(signal.SIGKILL)

    def poll(self) -> bool:
        """Return whether the process is over; if so, clean up after it and tell the launcher."""
        if self._process.poll() is None:
            return False
        self.over = True
        _signal_group(self.pid, signal.SIGKILL)  # what its cells left running
        self._read_socket()
        for _ in range(MAX_OUTPUT_KEPT // OUTPUT_READ_SIZE + 1):  # what a pipe holds
            if not self._read_output():
                break
        for stream in (self._socket, self._pipe):
            self._loop.watch(stream, None, None)
            stream.close()
        for folder in (self._folder, "%s/ipykernel_%d" % (_TEMPORARY, self.pid)):
            remove_tree(folder)
        status = self._process.returncode
        assert status is not None
        output = self._output.decode("utf-8", "replace")
        killed = status == -signal.SIGKILL and not self.ending
        self.owner.send(Exited(status, output, was_out_of_memory(self.pid) if killed else None))
        return True

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:  # else the number may be another process's by now
            _signal_group(self.pid, number)

    def change_key(self, key: str, signature_scheme: str) -> None:
        """Have the kernel sign with another launcher's key; its owner gets a `Ready` when it does.

        Raises:
            OSError: The kernel does not listen.
        """
        wanted = {"key": key, "signature_scheme": signature_scheme}
        self._socket.send(json.dumps(wanted).encode() + b"\n")  # fits: nothing else is sent
        self._former_keys = [*self._former_keys[1 - MAX_FORMER_KEYS :], self.key]
        self.key = key
        self._key_changes += 1

    def _read_socket(self) -> None:
        try:
            data = self._socket.recv(MAX_LINE)
        except OSError:
            return
        if not data:
            self._loop.watch(self._socket, None, None)
        *lines, self._line_buffer = (self._line_buffer + data).split(b"\n")
        self._line_buffer = self._line_buffer[-MAX_LINE:]  # cells can write there too
        for line in lines:
            self._handle_message(_object(line))

    def _handle_message(self, content: Dict[str, Any]) -> None:
        """Note what the kernel says: it is ready; later, it shows pictures or has a new key."""
        if self._ready is None:
            if content.get("ready"):
                self._ready = Ready(self.id, self.pid, str(content.get("ipykernel")))
                self.owner.send(self._ready)
            elif "missing" in content:
                detail = str(content.get("detail", ""))
                self.owner.send(Missing(str(content["missing"]), detail))
            else:
                self.end()
        elif content.get("video"):
            self.shows_pictures = True
            self.owner.on_video()
        elif self._key_changes and content.get("rekeyed"):
            self._key_changes -= 1
            if not self._key_changes:
                former = tuple(self._former_keys)
                self.owner.send(Ready(self.id, self.pid, self._ready.ipykernel, former))

    def _watch_output(self) -> None:
        if not self._pipe.closed:
            self._loop.watch(self._pipe, self._on_output, None)

    def _on_output(self) -> None:
        """Pass output on; while the link is behind, let it wait in the pipe, then in the kernel."""
        if self.owner.is_behind:
            self._loop.watch(self._pipe, None, None)
            pause = BACKLOG_POLL_SECONDS if self.owner.connected else DISCONNECTED_POLL_SECONDS
            self._loop.call_later(pause, self._watch_output)
        elif self._read_output() is False:
            self._loop.watch(self._pipe, None, None)

    def _read_output(self) -> Optional[bool]:
        """Pass on one message's worth of output; return False at its end, None if none has come."""
        try:
            data = os.read(self._pipe.fileno(), OUTPUT_READ_SIZE)
        except OSError:
            return None
        if data:
            self._output = (self._output + data)[-MAX_OUTPUT_KEPT:]
            self.owner.send(Output(data.decode("utf-8", "replace")))
        return bool(data)


def _object(line: bytes) -> Dict[str, Any]:
    """Return the JSON object in a line; an empty one if it holds none."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # all of it has ended


def _write_connection_file(folder: str, request: Start) -> str:
    info = {"transport": "ipc", "ip": folder + "/k", "key": request.key}
    info["signature_scheme"] = request.signature_scheme
    for number, channel in enumerate(CHANNELS, 1):
        info["%s_port" % channel] = number  # type: ignore[assignment]
    path = folder + "/connection.json"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(info, file)
    return path


def _arguments(request: Start, connection_file: str) -> List[str]:
    """Return a kernel's arguments but for the first.

    Raises:
        OSError: The working folder cannot be used.
        ValueError: The request makes no sense.
    """
    workdir = os.path.expanduser(request.workdir or "~")
    os.stat(os.path.join(workdir, ""))  # what is wrong with it is easier to say here than there
    arguments = [connection_file, workdir]
    arguments += bundle_options(request)
    if request.debugger:
        arguments.append("--debugger")
    return arguments


class Kernels:
    """All kernels of an agent.

    Args:
        loop: The agent's.
        folder: Holds a folder for each kernel.
        make_room: Called before a kernel starts for an owner, to end others if memory is short.
        on_change: Called when a kernel has ended.
    """

    def __init__(
        self,
        loop: Loop,
        folder: str,
        make_room: Callable[[Owner], None],
        on_change: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._folder = folder
        self._make_room = make_room
        self._on_change = on_change
        self._count = 0
        self._all: List[Kernel] = []
        self._waiting: List[Callable[[], None]] = []
        self._faulty: Set[Kernel] = set()  # that could not be polled
        self._processes = KernelProcesses(loop, self._poll)
        loop.on_signal(signal.SIGCHLD, self._poll)

    def __iter__(self) -> Iterator[Kernel]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all) + len(self._waiting)

    def start(self, request: Start, owner: Owner, on_start: Callable[[Kernel], None]) -> None:
        """Start a kernel, once all that are ending are gone and the template is ready.

        Args:
            request: The launcher's.
            owner: Gets a `Failed` if the kernel cannot be started.
            on_start: Called with the kernel.
        """
        if not any(kernel.ending for kernel in self._all):
            self._make_room(owner)
        try:
            ready = self._processes.prepare(request)
        except (OSError, ValueError):
            ready = True  # the start below reports what is wrong
        ending = any(kernel.ending for kernel in self._all)
        if ending:
            owner.send(Note("it waits for the memory of a kernel that is ending"))
        if not ready or ending:
            self._waiting.append(partial(self._start_for, request, owner, on_start))
            return
        self._count += 1
        try:
            folder = "%s/%d" % (self._folder, self._count)
            kernel = Kernel(self._loop, folder, request, owner, self._processes)
        except CannotStart as error:
            owner.send(Failed(str(error)))
        else:
            self._all.append(kernel)
            on_start(kernel)

    def end(self) -> None:
        """End all kernels, and start none of those that wait."""
        self._waiting.clear()
        for kernel in self._all:
            kernel.end()

    def _start_for(self, request: Start, owner: Owner, on_start: Callable[[Kernel], None]) -> None:
        try:
            self.start(request, owner, on_start)
        except Exception as error:
            owner.on_fault(error)

    def _poll(self) -> None:
        self._all = [kernel for kernel in self._all if not self._is_over(kernel)]
        waiting, self._waiting = self._waiting, []
        for start in waiting:
            start()
        self._on_change()

    def _is_over(self, kernel: Kernel) -> bool:
        try:
            return kernel.poll()
        except Exception as error:
            kernel.owner.on_fault(error)
            self._loop.call_later(KILL_AFTER, self._poll)  # no signal may come for it
            known = kernel in self._faulty
            self._faulty.add(kernel)
            return known  # it cannot even be cleaned up after
