"""The launcher as VS Code's Jupyter extension treats it: no jupyter_client between the two.

It starts the kernelspec's argv itself, looks for the ports with bare connections, and ends it by
signals alone.
"""

from __future__ import annotations

import json
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO

import psutil
import pytest
import zmq
from jupyter_client.session import Session

from tests.support import boards
from tests.support.boards import Board, wait_until, write_spec
from tests.support.kernels import Message, is_idle
from tests.support.ports import unused_port
from tests.support.remote import remote
from tests.support.shown import displays, level

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
NO_LEASE = ("--orphan-timeout", "0")  # a launcher that a test kills leaves nothing to the next one
PROBE_EVERY = 0.2  # seconds
ASK_EVERY = 0.5  # seconds

PARENT = """
import sys
from jupyter_client import KernelManager
manager = KernelManager(kernel_name="board")
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=float(sys.argv[1]))
print(manager.provisioner.pid, flush=True)
sys.stdin.read()
"""

_numbers = count(1)


@dataclass
class Host:
    """The extension host's view of one kernel: the process that it started, and its ports."""

    board: Board
    process: subprocess.Popen[bytes]
    stdin: socket.socket
    info: dict[str, str | int]
    session: Session
    output: Path
    context: zmq.Context[zmq.Socket[bytes]]
    sockets: dict[str, zmq.Socket[bytes]] = field(default_factory=dict)

    def said(self) -> str:
        """Return what the launcher printed."""
        return self.output.read_text("utf-8")

    def probe(self) -> int:
        """Wait for the ports of shell and iopub as the extension does; count what was in vain."""
        refused = 0
        deadline = time.monotonic() + 60
        while not all(self._listens(channel) for channel in ("shell", "iopub")):
            refused += 1
            assert self.process.poll() is None, "the launcher has ended"
            assert time.monotonic() < deadline, "no ports within 60 s"
            time.sleep(PROBE_EVERY)
        return refused

    def connect(self) -> None:
        """Ask on shell and control what kernel this is, until they and iopub have spoken."""
        self.sockets.update(dial(self.context, self.info))
        silent = {"shell", "control", "iopub"}
        deadline = time.monotonic() + 60
        while silent:
            assert time.monotonic() < deadline, f"nothing from {silent} within 60 s"
            for channel in ("shell", "control"):
                self.send(channel, "kernel_info_request", {})
            for channel in tuple(silent):
                if self.sockets[channel].poll(ASK_EVERY * 1000):
                    self.receive(channel)
                    silent.discard(channel)

    def send(self, channel: str, kind: str, content: Message) -> str:
        """Send a request."""
        message = self.session.send(self.sockets[channel], kind, content)
        return str(message["header"]["msg_id"])

    def receive(self, channel: str) -> Message:
        """Return the next message on a channel."""
        assert self.sockets[channel].poll(self.board.limit * 1000), f"silence on {channel}"
        _, message = self.session.recv(self.sockets[channel], 0)
        return dict(message)

    def reply(self, channel: str, number: str) -> Message:
        """Return the content of the reply to a request."""
        while (message := self.receive(channel))["parent_header"].get("msg_id") != number:
            pass
        return dict(message["content"])

    def printed(self, number: str) -> str:
        """Return what a cell prints, once it is done."""
        return "".join(message["content"].get("text", "") for message in self.published(number))

    def published(self, number: str) -> list[Message]:
        """Return what a cell publishes, once it is done."""
        found: list[Message] = []
        while not (found and is_idle(number)(found[-1])):
            message = self.receive("iopub")
            if message["parent_header"].get("msg_id") == number:
                found.append(message)
        return found

    def execute(self, code: str) -> str:
        """Send a cell."""
        content = {"code": code, "silent": False, "allow_stdin": True, "store_history": True}
        return self.send("shell", "execute_request", content)

    def stop(self) -> None:
        """End it as the extension does: what it has started first, then the launcher itself."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            child.terminate()
        self.process.terminate()

    def gone(self) -> bool:
        """Say whether the launcher has ended."""
        return self.process.poll() is not None

    def _listens(self, channel: str) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.info[f"{channel}_port"]), 5).close()
        except ConnectionRefusedError:
            return False
        return True


@contextmanager
def opened(board: Board, *options: str, stdin: int | IO[bytes] | None = None) -> Iterator[Host]:
    """Start a kernel; whatever is left of it in the end is killed.

    Parameters: options for the launcher; stdin, in place of a socket that stays open.
    """
    number = next(_numbers)
    folder = board.folder / f"a workspace {number}"
    folder.mkdir()
    key = secrets.token_hex(16)
    info: dict[str, str | int] = {
        "key": key,
        "signature_scheme": "hmac-sha256",
        "transport": "tcp",
        "ip": "127.0.0.1",
        "kernel_name": "board",
        **{f"{channel}_port": unused_port() for channel in CHANNELS},
    }
    file = folder / "kernel v2 connection.json"
    file.write_text(json.dumps(info))
    file.chmod(0o644)
    ours, theirs = socket.socketpair()
    context = zmq.Context()
    output = folder / "output"
    with theirs, output.open("wb") as log:
        process = subprocess.Popen(
            [
                part.replace("{connection_file}", str(file))
                for part in board.argv(*NO_LEASE, *options)
            ],
            cwd=folder,
            env=board.environment,
            stdin=theirs if stdin is None else stdin,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    host = Host(board, process, ours, info, Session(key=key.encode()), output, context)
    try:
        yield host
    finally:
        context.destroy(linger=0)
        ours.close()
        process.kill()
        process.wait()


def dial(context: zmq.Context[zmq.Socket[bytes]], info: Message) -> dict[str, zmq.Socket[bytes]]:
    """Connect the sockets as the extension does: one identity, and no heartbeat."""
    identity = secrets.token_hex(8).encode()
    sockets = {}
    for channel in CHANNELS[:-1]:
        sockets[channel] = context.socket(zmq.SUB if channel == "iopub" else zmq.DEALER)
        if channel == "iopub":
            sockets[channel].subscribe(b"")
        else:
            sockets[channel].setsockopt(zmq.IDENTITY, identity)
        sockets[channel].connect(f"tcp://{info['ip']}:{info[f'{channel}_port']}")
    return sockets


@pytest.fixture(scope="module", params=[boards.local, remote], ids=["here", "ssh"])
def board(request: pytest.FixtureRequest) -> Iterator[Board]:
    """Give this machine as a board: over ssh, there are more processes that a signal can reach."""
    with request.param() as found:
        yield found


@pytest.fixture
def host(board: Board) -> Iterator[Host]:
    with opened(board) as found:
        assert found.probe() > 0, "the ports were open before the kernel was ready"
        found.connect()
        yield found


def test_probes_are_refused_until_the_kernel_answers(host: Host) -> None:
    """Once a probe gets through, the kernel is ready to answer: nothing waits for a time-out."""
    start = time.monotonic()
    assert host.printed(host.execute("print('ü')")) == "ü\n"
    assert time.monotonic() - start < 2 * host.board.slowness


def test_nothing_is_printed(host: Host) -> None:
    host.stop()
    wait_until(host.gone, "the launcher ends", host.board.limit)
    assert host.said() == ""


def test_one_identity_on_shell_control_and_stdin(host: Host) -> None:
    number = host.execute("name = input('Wie? ')")
    question = host.receive("stdin")
    assert question["content"]["prompt"] == "Wie? "
    host.session.send(host.sockets["stdin"], "input_reply", {"value": "世界"}, parent=question)
    assert host.reply("shell", number)["status"] == "ok"
    assert host.printed(host.execute("print(name)")) == "世界\n"


FILM = """\
import time
from PIL import Image
from board_agent.display import show
for level in range(0, 101, 2):
    show(Image.new("L", (64, 48), level), stream="left")
    show(Image.new("L", (64, 48), 200 - level), stream="right")
    time.sleep(0.02)"""


def test_pictures_are_such_that_they_are_swapped_in_place(host: Host) -> None:
    """A type or metadata that changed would have all outputs of the cell drawn again."""
    seen: set[str] = set()
    for _ in range(2):
        pictures = displays(host.published(host.execute(FILM)))  # which looks at what is constant
        last = {picture["transient"]["display_id"]: picture for picture in pictures}
        assert sorted(map(level, last.values())) == pytest.approx([100, 100], abs=2)
        assert len(pictures) > 10 and not seen & last.keys(), "each run has its own"
        seen.update(last)


def test_interrupt_is_answered_in_time(host: Host) -> None:
    number = host.execute("kept = 1\nprint('begun', flush=True)\nwhile True: pass")
    while host.receive("iopub")["content"].get("text") != "begun\n":
        pass
    start = time.monotonic()
    interrupt = host.send("control", "interrupt_request", {})
    assert host.reply("control", interrupt)["status"] == "ok"
    assert host.reply("shell", number)["ename"] == "KeyboardInterrupt"
    host.printed(number)
    assert time.monotonic() - start < 2 * host.board.slowness
    assert host.printed(host.execute("print(kept)")) == "1\n"


def test_stop_leaves_nothing(host: Host) -> None:
    host.execute("while True: pass")
    host.stop()
    wait_until(host.gone, "the launcher ends", 3 * host.board.slowness)
    assert not host.board.kernels()


def test_a_restart_begins_before_the_old_kernel_has_ended(board: Board, host: Host) -> None:
    (old,) = board.kernels()
    host.execute("while True: pass")
    with opened(board) as new:
        host.stop()
        new.probe()
        new.connect()
        wait_until(host.gone, "the old launcher ends", board.limit)
        wait_until(lambda: old not in board.kernels(), "the old kernel ends", board.limit)
        assert len(board.kernels()) == 1
        assert new.printed(new.execute("print('new')")) == "new\n"


def test_many_restarts_in_a_row_leave_one_kernel(board: Board) -> None:
    for _ in range(3):
        with opened(board) as impatient:
            impatient.stop()  # long before it is ready
            wait_until(impatient.gone, "the launcher ends", board.limit)
    with opened(board) as last:
        last.probe()
        last.connect()
        wait_until(lambda: len(board.kernels()) == 1, "one kernel is left", board.limit)


def test_the_end_of_stdin_is_the_end_of_the_extension_host(board: Board, host: Host) -> None:
    host.execute("while True: pass")
    host.stdin.close()
    wait_until(host.gone, "the launcher ends", board.limit)
    wait_until(lambda: not board.kernels(), "the kernel ends", board.limit)


@pytest.mark.parametrize("end", ["stdin", "stop"])
def test_the_end_is_heeded_while_the_board_does_not_answer(
    board: Board, host: Host, end: str
) -> None:
    (agent,) = board.agents()
    board.signal(agent, signal.SIGSTOP)
    try:
        with opened(board) as waiting:
            time.sleep(2 * board.slowness)  # it has long looked at its stdin, and found it open
            assert not waiting.gone()
            waiting.stdin.close() if end == "stdin" else waiting.stop()
            wait_until(waiting.gone, "the launcher ends", 2 * board.slowness)
            assert waiting.said() == ""
    finally:
        board.signal(agent, signal.SIGCONT)
    assert host.printed(host.execute("print('ü')")) == "ü\n"
    wait_until(lambda: len(board.kernels()) == 1, "only the first kernel is left", board.limit)


def test_a_window_reload_ends_it(board: Board, host: Host) -> None:
    host.process.terminate()
    host.stdin.close()
    wait_until(host.gone, "the launcher ends", board.limit)
    assert host.process.returncode == 0
    assert not board.kernels()


def test_a_stdin_that_is_empty_from_the_start_means_nothing(board: Board) -> None:
    with opened(board, stdin=subprocess.DEVNULL) as host:
        host.probe()
        host.connect()
        assert host.printed(host.execute("import time; time.sleep(1); print('ü')")) == "ü\n"
        assert not host.gone()
        host.stop()
        wait_until(host.gone, "the launcher ends", board.limit)


def test_the_kernels_death_is_told_on_stderr(board: Board, host: Host) -> None:
    host.execute("import os; os._exit(3)")
    wait_until(host.gone, "the launcher ends", 1 * board.slowness)
    assert host.process.returncode == 3
    (line,) = host.said().splitlines()
    assert "exit status 3" in line


def test_jupyters_own_death_ends_launcher_and_kernel(board: Board) -> None:
    write_spec(board.specs, "board", board.argv())
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(board.limit)],
        env=board.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdout is not None
        launcher = psutil.Process(int(parent.stdout.readline()))
        assert len(board.kernels()) == 1
        parent.kill()
    wait_until(lambda: not launcher.is_running(), "the launcher ends", board.limit)
    wait_until(lambda: not board.kernels(), "the kernel ends", board.limit)
