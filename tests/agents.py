"""Real agents on this machine, and sessions with them, for the tests."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boards
import pytest
from boards import wait_until

from board_agent.handshake import SESSION, Launcher
from board_agent.link import Data, Ended, Event, Link, Message, Opened, Pong, Reset

LIMIT = 30.0
CODE = "c0de"


@dataclass(frozen=True)
class Agent:
    """An agent: its process, and what its state file says.

    `runtime` is the folder that holds its own, `folder`.
    """

    runtime: Path
    folder: Path
    pid: int
    port: int
    token: bytes

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    @property
    def log(self) -> str:
        return (self.runtime / "log").read_text()


def launch(
    runtime: Path,
    python: str = sys.executable,
    idle: float = 60.0,
    bind: str = "127.0.0.1:0",
    patch: str = "pass",
) -> bytes:
    """Start an agent as the bootstrap does, and return what it says.

    Parameters: patch, a statement about the module `agent` that is executed first.
    """
    source = f"import sys; from board_agent import agent; {patch}; agent.main(sys.argv[1:])"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JPY_", "JUPYTER", "IPYTHON"))}
    environment = {**kept, "XDG_RUNTIME_DIR": str(runtime), "HOME": str(runtime)}
    command = [python, "-c", source] if patch != "pass" else [python, "-m", "board_agent"]
    with (runtime / "log").open("ab") as log:
        run = subprocess.run(
            [*command, "--code", CODE, "--bind", bind, "--idle", str(idle)],
            cwd=boards.ROOT,
            env={**environment, "JPY_PARENT_PID": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            timeout=LIMIT,
        )
    assert run.returncode == 0, (runtime / "log").read_text()
    return run.stdout


@contextmanager
def folder() -> Iterator[Path]:
    """Give a short folder for an agent; no process that knows of it outlives it."""
    with tempfile.TemporaryDirectory(prefix="rk-", dir="/tmp") as name:
        mark = f"XDG_RUNTIME_DIR={name}"
        try:
            yield Path(name)
        finally:
            for pid in marked(mark, "board_agent"):
                with suppress(ProcessLookupError):  # it may have ended by itself
                    os.kill(pid, signal.SIGTERM)
            try:
                wait_until(lambda: not marked(mark), "no process of the agent's is left", LIMIT)
            finally:
                for pid in marked(mark):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


@contextmanager
def running(**options: Any) -> Iterator[Agent]:
    """Start an agent, with `launch`'s options, and end it and its kernels."""
    with folder() as runtime:
        assert launch(runtime, **options) == b""
        yield find(runtime)


def find(runtime: Path) -> Agent:
    """Return the agent in a folder."""
    [path] = runtime.glob("rkernel/*/agent.json")
    state = json.loads(path.read_text())
    token = bytes.fromhex(state["token"])
    return Agent(runtime, path.parent, state["pid"], state["port"], token)


def marked(mark: str, argument: str = "") -> list[int]:
    """Return the processes with a mark in their environment and a word among their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            if mark.encode() in (process / "environ").read_bytes() and argument.encode() in words:
                found.append(int(process.name))
        except OSError:
            pass  # it has just ended, or is not ours to look at
    return found


def alive(pid: int) -> bool:
    """Say whether a process is there and no zombie."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


class Session:
    """A launcher's link to an agent, driven by the test.

    `break_off` and `resume` play the network; `status` is what the agent last said of the session.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.number = os.urandom(SESSION)
        self.messages: list[dict[str, Any]] = []
        self.received: dict[int, bytes] = {}
        self.over: set[int] = set()
        self.pongs = 0
        self.closed = False
        self.link = Link()
        self.resume()

    def resume(self) -> int:
        """Go on over a new connection, and return what the agent says of the session."""
        self.closed = False
        self.sock = socket.create_connection(("127.0.0.1", self.agent.port), timeout=LIMIT)
        try:
            shake = Launcher(self.agent.token, self.number, self.link.received)
            self.status, received = shake_hands(self.sock, shake)
            self.link.resume(received)
        except BaseException:
            self.sock.close()
            raise
        self.sock.setblocking(False)
        return self.status

    def break_off(self) -> None:
        """Lose the connection."""
        self.sock.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.sock.close()

    def say(self, kind: str, **content: object) -> None:
        self.link.message({"type": kind, **content})
        self.flush()

    def start(self, **request: object) -> dict[str, Any]:
        """Start a kernel and wait until it is ready; return what it said."""
        self.say("start", **{"key": "k", "python": sys.executable, "workdir": "/tmp", **request})
        return self.wait_for("ready")

    def wait_for(self, *kinds: str) -> dict[str, Any]:
        """Wait for the next message of one of some kinds, and forget those before it."""

        def come() -> bool:
            return any(message["type"] in kinds for message in self.messages)

        self.until(come, f"a message {kinds}")
        while self.messages[0]["type"] not in kinds:
            del self.messages[0]
        return self.messages.pop(0)

    def is_served(self) -> bool:
        """Ask the agent for a sign of life, and wait for it."""
        pongs = self.pongs
        self.link.ping()
        self.flush()
        self.until(lambda: self.pongs > pongs or self.closed, "an answer")
        return not self.closed

    def flush(self) -> None:
        self.sock.setblocking(True)
        self.sock.sendall(self.link.take())
        self.sock.setblocking(False)

    def until(self, condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
        """Take what comes until something holds; fail when that takes too long."""
        deadline = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self.sock, selectors.EVENT_READ)
            while not condition():
                left = deadline - time.monotonic()
                if left < 0:
                    pytest.fail(f"waited {limit:.0f} s for: {what}; it said {self.messages}")
                if selector.select(min(left, 0.1)):
                    self._receive()
                    if self.closed and not condition():
                        pytest.fail(f"the agent hung up before: {what}; it said {self.messages}")

    def _receive(self) -> None:
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        self.closed = not data
        for event in self.link.receive(data):
            self._take(event)
        if not self.closed:
            self.flush()

    def _take(self, event: Event) -> None:
        assert not isinstance(event, Opened)
        if isinstance(event, Message):
            self.messages.append(event.content)
        elif isinstance(event, Pong):
            self.pongs += 1
        elif isinstance(event, Data):
            self.received[event.stream] = self.received.get(event.stream, b"") + event.data
            self.link.consumed(event.stream, len(event.data))
        elif isinstance(event, (Ended, Reset)):
            self.over.add(event.stream)


def shake_hands(sock: socket.socket, shake: Launcher) -> tuple[int, int]:
    """Go through the handshake, or raise what is wrong; return the agent's answer.

    EOFError: the agent hung up.
    """
    sock.sendall(shake.take())
    while shake.answer is None:
        data = sock.recv(1)
        if not data:
            raise EOFError
        shake.receive(data)
        if out := shake.take():
            sock.sendall(out)
    return shake.answer
