"""Clients that work with a kernel over a bad network, and check all that they hear of it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from subprocess import Popen
from typing import Any

import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import KernelConnectionInfo

from .expected_output import Counts, Expected, Heard, Message

START_SECONDS = 180.0  # for a kernel to start on a slow board
SUBSCRIBED_SECONDS = 5.0  # for a message to come, if it is not lost for want of a subscription
PATIENCE_SECONDS = 120.0  # for what a request brings, cuts included
LOOK_SECONDS = 0.25  # between looks at whether the launcher still runs
DISPLAY_BYTES = 200_000

SETUP = """\
import base64, hashlib, os, time
from IPython.display import display
kept = globals().get("kept", {})
kept[%r] = 0
soaked = True
get_ipython().Completer.use_jedi = False  # once in a thousand times it finds nothing
"""
LINES = """\
kept[{user!r}] += 1
print({token!r}, "run", kept[{user!r}])
for i in range({count}):
    print({token!r}, i, flush=True)
    time.sleep({pause})
"""
DISPLAY = """\
data = base64.b64encode(os.urandom(%d)).decode()
display({"text/plain": hashlib.sha256(data.encode()).hexdigest() + data}, raw=True)
del data
"""


class Stuck(Exception):
    """What has to come does not; a sentence says what."""


@dataclass
class SharedKernel:
    """A kernel and what all of its clients have to hear of it."""

    name: str
    process: Popen[bytes]
    info: KernelConnectionInfo
    log: Path
    counts: Counts = field(default_factory=Counts)
    expected: dict[str, Expected] = field(default_factory=dict)
    asking: int = 0  # clients that do
    failed: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


class SoakClient:
    """One of a kernel's clients: it asks for things in turn, and listens to all that is said.

    Parameters: kernel; name; random, what decides what it asks for; interrupts, whether it is the
    one that interrupts, since an interrupt hits whatever runs.
    """

    def __init__(self, kernel: SharedKernel, name: str, random: Random, interrupts: bool) -> None:
        self.kernel = kernel
        self.name = name
        self._random = random
        self._runs = 0
        self._heard: dict[str, Heard] = {}
        self._over: set[str] = set()
        self._seen: set[str] = set()
        self._replies: dict[str, Message] = {}
        self._questions: list[str] = []
        with kernel.lock:
            kernel.asking += 1
        self._client = BlockingKernelClient()
        self._client.load_connection_info(kernel.info)
        self._client.start_channels(hb=False)
        self._poller = zmq.Poller()
        client = self._client
        channels = (
            *(client.shell_channel, client.iopub_channel),
            *(client.stdin_channel, client.control_channel),
        )
        self._channels = {channel.socket: channel for channel in channels}
        for socket in self._channels:
            self._poller.register(socket, zmq.POLLIN)
        self._tasks = [self._lines, self._lines, self._input, self._complete, self._display]
        if interrupts:
            self._tasks.append(self._interrupt)

    def join(self) -> None:
        """Wait until the kernel answers and is heard. Raises Stuck."""
        for _ in range(5):
            number = self._execute(SETUP % self.name)
            self._reply(number, START_SECONDS)
            try:
                self._until(partial(self._is_idle, number), "an idle", SUBSCRIBED_SECONDS)
            except Stuck:
                continue
            return
        raise Stuck("what it publishes does not come")

    def work(self, over: threading.Event) -> None:
        """Ask for one thing after the other until it is over. Raises Stuck."""
        while not over.is_set():
            task = self._random.choice(self._tasks)
            task()
            with self.kernel.lock:
                self.kernel.counts.requests[task.__name__[1:]] += 1

    def listen(self) -> None:
        """Hear the end of all that any client of the kernel asks for. Raises Stuck."""
        with self.kernel.lock:
            self.kernel.asking -= 1
        self._until(
            lambda: not self.kernel.asking and self._over >= self.kernel.expected.keys(),
            "the end of all requests",
        )

    def give_up(self, why: str) -> None:
        """Note a fault after which there is nothing to wait for."""
        self._fault(why)
        self.kernel.failed.set()

    def close(self) -> None:
        """Count what never came, and leave."""
        with self.kernel.lock:
            for number in self.kernel.expected.keys() - self._over:
                heard = self._heard.get(number, Heard())
                self.kernel.counts.check(self.name, self.kernel.expected[number], heard)
        self._client.stop_channels()

    def _lines(self) -> None:
        token, count = secrets.token_hex(4), self._random.randrange(10, 200)
        self._runs += 1
        text = f"{token} run {self._runs}\n" + "".join(f"{token} {i}\n" for i in range(count))
        pause = self._random.choice([0.0, 0.01, 0.05])
        code = LINES.format(user=self.name, token=token, count=count, pause=pause)
        self._run(code, Expected("lines", text))

    def _input(self) -> None:
        token, answer = secrets.token_hex(4), secrets.token_hex(4)
        expected = Expected("input", f"{token} {answer}\n")
        number = self._execute(f"print({token!r}, input({token!r}))", expected, allow_stdin=True)
        self._until(lambda: self._questions, "a question")
        if (question := self._questions.pop(0)) != token:
            self._fault(f"it was asked {question!r} in place of {token!r}")
        self._client.input(answer)
        self._finish(number, "ok")

    def _interrupt(self) -> None:
        token = secrets.token_hex(4)
        expected = Expected("interrupt", f"{token}\n", error="KeyboardInterrupt")
        number = self._execute(f"print({token!r}, flush=True)\nwhile True: pass", expected)
        self._until(lambda: self._heard.get(number, Heard()).text, "the cell to loop")
        request = self._send("interrupt_request", None, channel=self._client.control_channel)
        self._reply(request)
        self._finish(number, "error")

    def _complete(self) -> None:
        expected = Expected("complete")
        number = self._send("complete_request", expected, code="soak", cursor_pos=4)
        reply = self._finish(number, "ok")
        if "soaked" not in reply.get("matches", []):
            self._fault(f"a completion brought {reply}")

    def _display(self) -> None:
        self._run(DISPLAY % DISPLAY_BYTES, Expected("display", displays=1))

    def _run(self, code: str, expected: Expected) -> None:
        self._finish(self._execute(code, expected), "ok")

    def _execute(
        self, code: str, expected: Expected | None = None, allow_stdin: bool = False
    ) -> str:
        return self._send(
            "execute_request",
            expected,
            code=code,
            silent=False,
            store_history=True,
            user_expressions={},
            allow_stdin=allow_stdin,
            stop_on_error=False,  # an interrupt must not abort what another client has asked for
        )

    def _send(
        self, kind: str, expected: Expected | None, channel: Any = None, **content: Any
    ) -> str:
        message = self._client.session.msg(kind, content)
        number = str(message["header"]["msg_id"])
        if expected:
            self.kernel.expected[number] = expected
        (channel or self._client.shell_channel).send(message)
        return number

    def _finish(self, number: str, status: str) -> Message:
        """Wait for both ends of a request, and return the reply's content."""
        content: Message = self._reply(number)["content"]
        if content["status"] != status:
            self._fault(f"a reply says {content['status']} in place of {status}")
        self._until(lambda: number in self._over, "an idle")
        return content

    def _reply(self, number: str, limit: float = PATIENCE_SECONDS) -> Message:
        self._until(lambda: number in self._replies, "a reply", limit)
        return self._replies.pop(number)

    def _until(
        self, done: Callable[[], object], what: str, limit: float = PATIENCE_SECONDS
    ) -> None:
        """Take what comes until something holds. Raises Stuck."""
        deadline = time.monotonic() + limit
        while not done():
            events = self._poller.poll(int(1000 * LOOK_SECONDS))
            for socket, _ in events:
                self._take(self._channels[socket])
            if events:
                continue
            if self.kernel.process.poll() is not None:
                said = self.kernel.log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
                raise Stuck(f"the launcher ended, waiting for {what}: {said or 'silently'}")
            if self.kernel.failed.is_set():
                raise Stuck(f"waiting for {what} when another client gave up")
            if time.monotonic() > deadline:
                raise Stuck(f"{limit:.0f} s without {what}")

    def _take(self, channel: Any) -> None:
        try:
            message: Message = channel.get_msg(timeout=0)
        except ValueError:  # the session's own look at signatures
            self._twice()
            return
        number = message["header"]["msg_id"]
        if number in self._seen:
            self._twice()
            return
        self._seen.add(number)
        parent = message["parent_header"].get("msg_id", "")
        if channel is self._client.iopub_channel:
            self._hear(parent, message)
        elif channel is self._client.stdin_channel:
            self._questions.append(message["content"]["prompt"])
        elif parent in self._replies:
            self._twice()
        else:
            self._replies[parent] = message

    def _hear(self, parent: str, message: Message) -> None:
        if parent in self._over:
            if message["content"].get("name") != "stderr":  # which may tell of the link so late
                self._fault(f"{message['msg_type']} after the end of its request")
            return
        heard = self._heard.setdefault(parent, Heard())
        heard.take(message)
        expected = self.kernel.expected.get(parent)
        if heard.idle and expected:
            with self.kernel.lock:
                self.kernel.counts.check(self.name, expected, heard)
            self._over.add(parent)
            del self._heard[parent]

    def _is_idle(self, number: str) -> bool:
        return self._heard.get(number, Heard()).idle

    def _twice(self) -> None:
        with self.kernel.lock:
            self.kernel.counts.twice += 1
        self._fault("a message came twice")

    def _fault(self, sentence: str) -> None:
        with self.kernel.lock:
            self.kernel.counts.fault(f"{self.name}: {sentence}")
