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
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zmq
from jupyter_client.session import Session as Wire

from board_agent.link.events import Data, Ended, Event, Message, Opened, Pong, Reset
from board_agent.link.handshake import NEW, RESUMED, SESSION, LauncherHandshake, shake_hands
from board_agent.link.link import Link
from tests.support import boards
from tests.support.boards import wait_until

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
    source = f"import sys; from board_agent.agent import agent; {patch}; agent.main(sys.argv[1:])"
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
    What is said in between waits.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.number = os.urandom(SESSION)
        self.messages: list[dict[str, Any]] = []
        self.received: dict[int, bytes] = {}
        self.over: set[int] = set()
        self.carried: dict[int, socket.socket] = {}
        self.passed_on = 0  # bytes, to those
        self.pongs = 0
        self.closed = False
        self.link = Link()
        self.resume()

    def resume(self) -> int:
        """Go on over a new connection, and return what the agent says of the session."""
        if self.closed:
            self.sock.close()
        self.closed = False
        self.sock = self.dial()
        try:
            shake = LauncherHandshake(self.agent.token, self.number, self.link.last_received)
            self.status, received = shake_hands(self.sock, shake)
            if self.status in (NEW, RESUMED):
                self.link.resume(received)
        except BaseException:
            self.sock.close()
            raise
        self.sock.setblocking(False)
        return self.status

    def dial(self) -> socket.socket:
        """Make a connection to the agent."""
        return socket.create_connection(("127.0.0.1", self.agent.port), timeout=LIMIT)

    def break_off(self) -> None:
        """Lose the connection."""
        self.sock.close()

    @property
    def is_off(self) -> bool:
        """Whether there is no connection."""
        return self.sock.fileno() < 0

    def carry(self, channel: str, zmq_socket: zmq.Socket[bytes]) -> int:
        """Have a ZMQ socket talk to a channel of the kernel's; return the stream."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(LIMIT)
            zmq_socket.connect(f"tcp://127.0.0.1:{server.getsockname()[1]}")
            local = server.accept()[0]
        local.settimeout(LIMIT)
        stream = self.link.open(channel)
        self.carried[stream] = local
        self.flush()
        return stream

    def drop(self, stream: int) -> None:
        """Carry a socket no longer."""
        self.carried.pop(stream).close()
        self.link.reset(stream)
        self.flush()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.sock.close()
        for local in self.carried.values():
            local.close()

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
        if self.is_off or self.closed:
            return
        self.sock.setblocking(True)
        self.sock.sendall(self.link.data_to_send())
        self.sock.setblocking(False)

    def until(self, condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
        """Take what comes until something holds; fail when that takes too long."""
        deadline = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            if not self.is_off:
                selector.register(self.sock, selectors.EVENT_READ, self._receive)
            for number, local in self.carried.items():
                selector.register(local, selectors.EVENT_READ, partial(self._send, number))
            while not condition():
                left = deadline - time.monotonic()
                if left < 0:
                    pytest.fail(f"waited {limit:.0f} s for: {what}; it said {self.messages}")
                for key, _ in selector.select(min(left, 0.02)):
                    key.data()
                if self.closed and not condition():
                    pytest.fail(f"the agent hung up before: {what}; it said {self.messages}")

    def _send(self, number: int) -> None:
        if room := self.link.credit(number):
            self.link.send(number, self.carried[number].recv(room))
            self.flush()

    def _receive(self) -> None:
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        self.closed = not data
        for event in self.link.receive_data(data):
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
            if event.stream in self.carried:
                self.carried[event.stream].sendall(event.data)
                self.passed_on += len(event.data)
            else:
                self.received[event.stream] = self.received.get(event.stream, b"") + event.data
            self.link.consumed(event.stream, len(event.data))
        elif isinstance(event, (Ended, Reset)):
            self.over.add(event.stream)


class Frontend:
    """A frontend, whose ZMQ sockets talk to the kernel through a session.

    `text` is all that was printed, `keys` are those that the messages on iopub were signed with, in
    order; a message that comes twice is an error. Parameters: key, the kernel's; former_key, which
    messages may be signed with too.
    """

    def __init__(self, session: Session, key: str = "k", former_key: str = "") -> None:
        self.text = ""
        self.keys: list[str] = []
        self.busy: set[str] = set()  # what the kernel has begun with
        self.idle: set[str] = set()  # what it is done with
        self._replies: dict[str, dict[str, Any]] = {}
        self._session = session
        self._wires = {k: Wire(key=k.encode()) for k in (key, former_key) if k}
        self._wire = self._wires[key]
        self._context = zmq.Context()
        self._streams: list[int] = []
        self._shell = self._socket(zmq.DEALER, "shell")
        self._iopub = self._socket(zmq.SUB, "iopub")

    def _socket(self, kind: int, channel: str) -> zmq.Socket[bytes]:
        made = self._context.socket(kind)
        made.linger = 0
        made.rcvhwm = 0
        if kind == zmq.SUB:
            made.subscribe(b"")
        self._streams.append(self._session.carry(channel, made))
        return made

    def __enter__(self) -> Frontend:
        return self

    def __exit__(self, *exception: object) -> None:
        self._context.destroy()
        for stream in self._streams:
            self._session.drop(stream)

    def ask(self, code: str) -> str:
        """Ask the kernel to run a cell; return the number of the request."""
        return self._ask("execute_request", code=code, silent=False, allow_stdin=False)

    def begin(self, code: str) -> str:
        """Have the kernel begin with a cell; return the number of the request."""
        asked = self.ask(code)
        self.until(lambda: asked in self.busy, "the kernel is busy")
        return asked

    def run(self, code: str) -> str:
        """Run a cell, and return what it printed."""
        before = len(self.text)
        self.finish(self.ask(code))
        return self.text[before:]

    def finish(self, asked: str) -> None:
        """Wait until a cell is done, and all that it printed has come."""
        assert self.reply(asked)["status"] == "ok"
        self.until(lambda: asked in self.idle, "the kernel is idle")

    def reply(self, asked: str) -> dict[str, Any]:
        """Wait for the answer to a request."""
        self.until(lambda: asked in self._replies, "a reply")
        return self._replies[asked]

    def listen(self) -> None:
        """Wait until what the kernel publishes comes here."""
        while not self.idle:
            asked = self._ask("kernel_info_request")
            self.reply(asked)
            self.take()
        self.until(lambda: asked in self.idle, "the kernel is idle")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Take what comes until something holds."""
        self._session.until(lambda: (self.take(), condition())[1], what)

    def take(self) -> None:
        """Take what has come."""
        while frames := _received(self._shell):
            message = self._read(frames)[1]
            self._replies[message["parent_header"]["msg_id"]] = message["content"]
        while frames := _received(self._iopub):
            key, message = self._read(frames)
            self.keys.append(key)
            content = message["content"]
            if message["msg_type"] == "stream":
                self.text += content["text"]
            elif content.get("execution_state") in ("busy", "idle"):
                done = self.idle if content["execution_state"] == "idle" else self.busy
                done.add(message["parent_header"].get("msg_id"))

    def _ask(self, kind: str, **content: object) -> str:
        message = self._wire.send(self._shell, kind, content)
        return str(message["header"]["msg_id"])

    def _read(self, frames: list[bytes]) -> tuple[str, dict[str, Any]]:
        parts = self._wire.feed_identities(frames)[1]
        for key, wire in self._wires.items():
            if wire.sign(parts[1:5]) == parts[0]:
                return key, wire.deserialize(parts)
        pytest.fail("a message that nobody signed")


def _received(zmq_socket: zmq.Socket[bytes]) -> list[bytes]:
    try:
        return zmq_socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return []
