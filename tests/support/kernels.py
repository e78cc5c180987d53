"""Start kernels as frontends do, run code on them, and collect what they say, all with limits."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from jupyter_client import BlockingKernelClient, KernelManager
from jupyter_client.kernelspec import KernelSpecManager

from tests.support.boards import Board, wait_until, write_spec

Message = dict[str, Any]

_numbers = itertools.count(1)


@dataclass
class Result:
    """What a kernel said to one request: the reply, and what it published meanwhile."""

    reply: Message
    published: list[Message]

    def of(self, *kinds: str) -> list[Message]:
        """Return the contents of the published messages of some kinds."""
        return [message["content"] for message in self.published if message["msg_type"] in kinds]

    def text(self, name: str = "stdout") -> str:
        """Return what was printed."""
        return "".join(part["text"] for part in self.of("stream") if part["name"] == name)


@dataclass
class Frontend:
    """A kernel that was started through jupyter_client, and a client of it."""

    board: Board
    manager: KernelManager
    client: BlockingKernelClient
    stderr: Path
    limit: float

    @property
    def launcher(self) -> int:
        """The process id of the launcher."""
        return int(self.manager.provisioner.pid)

    def send(self, code: str, **options: Any) -> str:
        """Ask for code to be run, and do not wait for anything."""
        return str(self.client.execute(code, **{"allow_stdin": False, **options}))

    def run(
        self, code: str, answer: Callable[[Message], str] | None = None, **options: Any
    ) -> Result:
        """Run code to its end; `answer` gives the answers to what it asks of the user."""
        number = self.send(code, allow_stdin=answer is not None, **options)
        if answer is not None:
            question = self.client.get_stdin_msg(timeout=self.limit)
            self.client.input(answer(question))
        return self.finish(number)

    def value(self, expression: str) -> str:
        """Return the repr of an expression's value in the kernel."""
        content = self.run("", user_expressions={"it": expression}).reply["content"]
        answer = content["user_expressions"]["it"]
        assert answer["status"] == "ok", answer
        return str(answer["data"]["text/plain"])

    def until(self, wanted: Callable[[Message], object], what: str) -> list[Message]:
        """Collect what is published, up to the first message that is wanted."""
        found: list[Message] = []
        while not (found and wanted(found[-1])):
            try:
                found.append(self.client.get_iopub_msg(timeout=self.limit))
            except Empty:
                pytest.fail(f"nothing was published for {self.limit:.0f} s; waited for: {what}")
        return found

    def until_printed(self, text: str) -> list[Message]:
        """Collect what is published, up to the message that ends `text`.

        A line may come in parts: on a slow board, ipykernel sends what print has written so far.
        """
        end = ""  # of what was printed, in which `text` may have begun

        def is_complete(message: Message) -> bool:
            nonlocal end
            end = end[-len(text) :] + message["content"].get("text", "")
            return text in end

        return self.until(is_complete, f"{text!r} is printed")

    def finish(self, number: str) -> Result:
        """Collect what a request brings until its end."""
        published = self.until(is_idle(number), f"the end of request {number}")
        return Result(self.reply(number), [m for m in published if _parent(m) == number])

    def reply(self, number: str, channel: str = "shell") -> Message:
        """Return the reply to a request."""
        receive = getattr(self.client, f"get_{channel}_msg")
        try:
            while True:
                message: Message = receive(timeout=self.limit)
                if _parent(message) == number:
                    return message
        except Empty:
            pytest.fail(f"no reply on {channel} within {self.limit:.0f} s")

    def control(self, kind: str, content: dict[str, Any] | None = None) -> Message:
        """Send a request on the control channel, and return its reply."""
        message = self.client.session.msg(kind, content)
        self.client.control_channel.send(message)
        return self.reply(message["header"]["msg_id"], "control")

    def restart(self, now: bool = False) -> None:
        """Restart the kernel, and wait until the new one is ready."""
        self.manager.restart_kernel(now=now)
        for channel in (self.client.shell_channel, self.client.iopub_channel):
            while channel.msg_ready():  # what the old one said is not to be taken for the new one
                channel.get_msg(timeout=0)
        self.client.wait_for_ready(timeout=self.limit)

    def signal(self, number: signal.Signals) -> None:
        """Send the launcher itself a signal."""
        self.manager.provisioner.process.send_signal(number)

    def wait_for_end(self, limit: float) -> int:
        """Wait until the launcher has ended, and return its status."""
        process = self.manager.provisioner.process
        wait_until(lambda: process.poll() is not None, "the launcher ends", limit)
        return int(process.returncode)

    def reason(self, limit: float) -> str:
        """Wait until the launcher says that there is no kernel; return what a cell is told then."""
        wait_until(self.said, "the launcher says why there is no kernel", limit)
        return str(self.run("print('told')").reply["content"]["evalue"])

    def said(self) -> str:
        """Return what the launcher wrote to stderr."""
        return self.stderr.read_text("utf-8")

    def log(self) -> str:
        """Return the launcher's log."""
        folder = Path(self.board.environment["JUPYTER_RUNTIME_DIR"], "rkernel-logs")
        file = folder / f"{Path(self.manager.connection_file).stem}.log"
        return file.read_text("utf-8") if file.exists() else ""


@contextmanager
def launched(
    board: Board,
    *options: str,
    argv: list[str] | None = None,
    transport: str = "tcp",
    spec: Path | None = None,
) -> Iterator[Frontend]:
    """Start a launcher, and end it at last.

    Parameters: options for the launcher; argv, in place of the launcher's; transport, of the
    connection file; spec, the folder of a kernelspec that is there, in place of one made here.
    """
    number = next(_numbers)
    if spec is None:
        spec = board.folder / f"specs-{number}" / "board"
        write_spec(spec.parent, spec.name, argv or board.argv(*options))
    manager = KernelManager(
        kernel_name=spec.name,
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(spec.parent)]),
        connection_file=f"{board.folder}/kernel-{number}.json",
        transport=transport,
    )
    stderr = board.folder / f"stderr-{number}"
    with stderr.open("wb") as log:
        manager.start_kernel(env=board.environment, stderr=log)
        client = manager.blocking_client()
        try:
            client.start_channels()
            yield Frontend(board, manager, client, stderr, board.limit)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=not manager.is_alive())


@contextmanager
def started(board: Board, *options: str, **more: Any) -> Iterator[Frontend]:
    """Start a kernel as `launched` does, and wait until it is ready."""
    with launched(board, *options, **more) as frontend:
        frontend.client.wait_for_ready(timeout=board.limit)
        yield frontend


@contextmanager
def attached(frontend: Frontend) -> Iterator[Frontend]:
    """Attach one more client to a kernel that runs, and wait until it hears all."""
    with attached_at_once(frontend) as other:
        other.client.wait_for_ready(timeout=frontend.limit)
        yield other


@contextmanager
def attached_at_once(frontend: Frontend) -> Iterator[Frontend]:
    """Attach one more client to a kernel that runs."""
    client = frontend.manager.blocking_client()
    client.start_channels()
    try:
        yield replace(frontend, client=client)
    finally:
        client.stop_channels()


def is_idle(number: str) -> Callable[[Message], bool]:
    """Return what tells the message that ends a request."""
    return lambda message: (
        _parent(message) == number and message["content"].get("execution_state") == "idle"
    )


def by_message(kernel: Frontend) -> None:
    """Interrupt a kernel as frontends do."""
    kernel.manager.interrupt_kernel()


def interrupt(kernel: Frontend, code: str, how: Callable[[Frontend], None] = by_message) -> float:
    """Run an endless cell, interrupt it, and return the seconds until it has ended.

    It ends with a KeyboardInterrupt, and what it has set before stays.
    """
    begin = "kept = 'ü'\nprint('begun', flush=True)\n"
    number = kernel.send(begin + code, allow_stdin=True, stop_on_error=False)
    kernel.until_printed("begun")
    if "input" in code:
        kernel.client.get_stdin_msg(timeout=kernel.limit)
    how(kernel)
    seconds = seconds_of(lambda: kernel.until(is_idle(number), "the interrupted cell ends"))
    content = kernel.reply(number)["content"]
    assert content.get("ename") == "KeyboardInterrupt", content
    assert kernel.value("kept") == "'ü'"
    return seconds


def seconds_of(action: Callable[[], object]) -> float:
    """Return how long something takes."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


def _parent(message: Message) -> str | None:
    return message["parent_header"].get("msg_id")
