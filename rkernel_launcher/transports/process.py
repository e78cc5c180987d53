"""A program on this PC whose stdin and stdout lead to the target: ssh, docker, a Python.

On POSIX it is nobody's child, and ignores SIGTERM and SIGINT where it may: VS Code sends both to
every descendant of the launcher before it sends them to the launcher, which has a kernel to end
first. Ignoring is not enough, since programs in Go and Node undo it. So a shell starts the program
in the background and exits.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Protocol

from .. import os_support
from ..errors import BoardSilent, NoProgram
from .stream import CHUNK, Ending, Stream

GRACE = 1.0  # seconds that a program has to end when its stream is closed
MAX_STDERR = 1 << 14  # bytes that are kept
# The status goes last to stderr. Descriptor 4, since a job in the background has no stdin.
_ORPHAN = 'trap "" TERM INT; exec 4<&0; { "$@" <&4 4<&-; echo "rkernel: status $?" >&2; } & exit 0'
_STATUS = re.compile(rb"rkernel: status (\d+)\n\Z")

PERSON_SECONDS = 300.0  # for a person to answer, or to touch a key


class HasFileno(Protocol):
    """What `select` can wait for."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Attendant:
    """Somebody who looks after a program until it answers; this one does nothing.

    Attributes:
        environment: The environment of the program; that of this process if it is None.
        questions: What can be read when the program has a question; None if it never has.
    """

    environment: Mapping[str, str] | None = None
    questions: HasFileno | None = None

    def answer(self) -> None:
        """Answer the question that the program has."""

    def hear(self, stderr: str) -> None:
        """Take lines that the program has written to stderr; called in a thread of its own."""

    def is_needed(self, stderr: str) -> bool:
        """Say from all that it wrote there whether it waits for a person, who may take long."""
        return False


def start(
    argv: Sequence[str], first: bytes, timeout: float, attendant: Attendant | None = None
) -> Stream:
    """Start a program, and return the stream to it once it has answered, or ended.

    Args:
        argv: The program and its arguments.
        first: The first bytes for its stdin.
        timeout: How many seconds it may take to answer them, besides those that a person takes.
        attendant: Looks after the program meanwhile.

    Raises:
        BoardSilent: It does not answer in time.
        NoProgram: The program is not there.
    """
    attendant = attendant or Attendant()
    path = (attendant.environment or os.environ).get("PATH")
    if shutil.which(argv[0], path=path) is None:
        raise NoProgram(program=argv[0])
    local, remote = socket.socketpair()
    try:
        with remote:
            spawn = _piped if os_support.WINDOWS else _orphan
            program = _Program(spawn(argv, attendant.environment, remote), attendant)
    except BaseException:
        local.close()
        raise
    stream = Stream(local, program.end, program.ending)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended, and tells why
            stream.write(first, timeout)
        _attend(stream, program, attendant, timeout)
    except BaseException as error:
        stream.close()
        if isinstance(error, TimeoutError):
            raise BoardSilent(seconds=timeout) from None
        raise
    program.attendant = None
    return stream


def _attend(stream: Stream, program: _Program, attendant: Attendant, timeout: float) -> None:
    """Wait for the answer to the first bytes, or for the program's end. Raises TimeoutError."""
    questions = attendant.questions
    begun = time.monotonic()
    deadline = begun + timeout
    while True:
        left = deadline - time.monotonic()
        waiting = [stream, questions] if questions is not None else [stream]
        ready, _, _ = select.select(waiting, [], [], max(0.0, left))
        if stream in ready:
            return
        if ready:
            attendant.answer()
            deadline = time.monotonic() + timeout
        elif attendant.is_needed(program.stderr) and time.monotonic() - begun < PERSON_SECONDS:
            deadline = time.monotonic() + 1.0
        else:
            raise TimeoutError


class _Program:
    """A program that runs: its stderr, its status and its end.

    Args:
        process: The program, or the shell that has started it in the background and exited.
        attendant: Hears what it writes to stderr, as long as this is not None.
    """

    def __init__(self, process: subprocess.Popen[bytes], attendant: Attendant | None) -> None:
        self.attendant = attendant
        self._process = process
        self._stderr = b""
        self._reader = threading.Thread(target=self._read, name="stderr", daemon=True)
        self._reader.start()

    @property
    def stderr(self) -> str:
        """The last that it wrote there."""
        return self._stderr.decode("utf-8", "replace")

    def ending(self, timeout: float) -> Ending:
        """Tell how the program ended, as far as it has within `timeout` seconds."""
        self._reader.join(max(timeout, 0.0))
        said, status = self._stderr, None
        if match := _STATUS.search(said):
            said, status = said[: match.start()], int(match[1])
        elif os_support.WINDOWS and not self._reader.is_alive():
            with suppress(subprocess.TimeoutExpired):
                status = self._process.wait(GRACE)
        return Ending(status, said.decode("utf-8", "replace"))

    def end(self) -> None:
        """See that the program ends, now that its stream is closed."""
        if self._reader.is_alive():
            threading.Thread(target=self._end, name="end of a program").start()

    def _end(self) -> None:
        self._reader.join(GRACE)
        if self._reader.is_alive():  # so the number is still that of its process group
            with suppress(OSError):
                if os_support.WINDOWS:
                    self._process.kill()
                else:
                    os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join(GRACE)

    def _read(self) -> None:
        pipe = self._process.stderr
        assert pipe is not None
        line = b""
        with pipe:
            while data := os.read(pipe.fileno(), CHUNK):
                self._stderr = (self._stderr + data)[-MAX_STDERR:]
                lines, end, line = (line + data).rpartition(b"\n")
                if end and self.attendant is not None:
                    said = _STATUS.sub(b"", lines + end)
                    self.attendant.hear(said.decode("utf-8", "replace"))


def _orphan(
    argv: Sequence[str], environment: Mapping[str, str] | None, remote: socket.socket
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        ["/bin/sh", "-c", _ORPHAN, "rkernel", *argv],
        env=environment,
        stdin=remote.fileno(),
        stdout=remote.fileno(),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    process.wait()
    return process


def _piped(
    argv: Sequence[str], environment: Mapping[str, str] | None, remote: socket.socket
) -> subprocess.Popen[bytes]:
    """Start a child as Windows can: its pipes are no sockets, so two threads move the bytes."""
    no_window: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    process = subprocess.Popen(
        list(argv),
        env=environment,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        creationflags=no_window,
    )
    assert process.stdin is not None and process.stdout is not None
    for work, pipe in ((_pump_in, process.stdin), (_pump_out, process.stdout)):
        threading.Thread(target=work, args=(remote.dup(), pipe), daemon=True).start()
    return process


def _pump_in(sock: socket.socket, pipe: IO[bytes]) -> None:
    with sock, pipe, suppress(OSError):
        while data := sock.recv(CHUNK):
            rest = memoryview(data)
            while rest:
                rest = rest[pipe.write(rest) :]


def _pump_out(sock: socket.socket, pipe: IO[bytes]) -> None:
    with sock, pipe, suppress(OSError):
        while data := pipe.read(CHUNK):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
