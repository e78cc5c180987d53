"""A kernel that a contender runs on the board, and a client of it."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from . import processes
from .boards import Compared
from .contenders import Contender
from .other_launchers import Failed

Message = dict[str, Any]

LIMIT = 180.0  # seconds for the next message to come
LOOK_SECONDS = 1.0  # between looks at whether the process still runs
SUBSCRIBED_SECONDS = 5.0  # for a message to come, if it is not lost for want of a subscription
TRIES = 5
END_SECONDS = 10.0  # for a contender to end by itself once the kernel has been told to


class Silent(Failed):
    """Nothing comes."""


@dataclass
class Kernel:
    """A running kernel.

    `mark` is in the environment of its processes on this PC; `start_seconds` is how long it took to
    the first result, and `pids` are its processes on the board from then on; `others` are those
    that were there before.
    """

    name: str
    board: Compared
    client: BlockingKernelClient
    process: subprocess.Popen[bytes]
    log: Path
    mark: str
    start_seconds: float = 0.0
    pids: Collection[int] = ()
    others: Collection[int] = ()

    def send(self, code: str) -> str:
        """Ask for code to be run, and do not wait for anything."""
        return str(self.client.execute(code, allow_stdin=False))

    def run(self, code: str) -> int:
        """Run code to its end: both idle and reply. Return the characters that it published."""
        number = self.send(code)
        count = self.until_idle(number)
        self.reply(number)
        return count

    def until(self, wanted: Callable[[Message], bool], number: str, silence: float = LIMIT) -> int:
        """Read what a request publishes up to a message; return the characters in it.

        Parameters: silence, seconds in which something has to come. Raises: Failed.
        """
        count = 0
        while True:
            message = self._next("iopub", number, silence)
            content = message["content"]
            if message["msg_type"] == "stream":
                count += len(content["text"])
            elif message["msg_type"] == "display_data":
                count += len(content["data"]["text/plain"])
            if wanted(message):
                return count

    def until_idle(self, number: str, silence: float = LIMIT) -> int:
        """Read what a request publishes to its end, see `until`."""
        return self.until(lambda m: m["content"].get("execution_state") == "idle", number, silence)

    def reply(self, number: str, channel: str = "shell") -> Message:
        """Return the reply to a request. Raises: Failed."""
        return self._next(channel, number, LIMIT)

    def interrupt(self) -> str:
        """Ask for an interrupt, with a message as all contenders' kernelspecs have it."""
        message = self.client.session.msg("interrupt_request", {})
        self.client.control_channel.send(message)
        return str(message["header"]["msg_id"])

    def on_board(self) -> list[processes.Process]:
        """Return all that runs on the board for this kernel."""
        found = processes.on_board(self.board.machine)
        return [process for pid, process in found.items() if pid in self.pids]

    def on_pc(self) -> list[processes.Process]:
        """Return all that runs on this PC for this kernel."""
        return list(processes.marked(self.mark).values())

    def _next(self, channel: str, number: str, silence: float) -> Message:
        receive = getattr(self.client, f"get_{channel}_msg")
        deadline = time.monotonic() + silence
        while time.monotonic() < deadline:
            try:
                message: Message = receive(timeout=LOOK_SECONDS)
            except Empty:
                if self.process.poll() is not None:
                    said = self.log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
                    status = self.process.returncode
                    raise Failed(f"it ended with status {status}: {said or 'silently'}") from None
                continue
            if message["parent_header"].get("msg_id") == number:
                return message
        raise Silent(f"nothing came on {channel} for {silence:.0f} s")


@contextmanager
def started(contender: Contender, board: Compared) -> Iterator[Kernel]:
    """Start a kernel, wait for its first result, and leave nothing of it anywhere.

    Raises: Failed when that does not work.
    """
    file, info = write_connection_file(
        str(board.folder / f"{secrets.token_hex(8)}.json"), key=secrets.token_hex(16).encode()
    )
    argv = contender.argv(board, Path(file))
    with contender.service(board):
        before = processes.on_board(board.machine).keys()
        client = BlockingKernelClient()
        client.load_connection_info(info)
        client.start_channels(hb=False)
        launched = time.perf_counter()
        kernel = _launch(contender, board, client, argv, Path(file))
        try:
            kernel.reply(kernel.send("pass"))
            kernel.start_seconds = time.perf_counter() - launched
            kernel.others = before
            kernel.pids = processes.on_board(board.machine).keys() - before
            _wait_for_subscription(kernel)
            yield kernel
        finally:
            try:
                _end(kernel)
            finally:
                processes.end_others(board.machine, before)


def _wait_for_subscription(kernel: Kernel) -> None:
    """Wait until what the kernel publishes comes here too."""
    for _ in range(TRIES):
        number = kernel.send("pass")
        kernel.reply(number)
        try:
            kernel.until_idle(number, SUBSCRIBED_SECONDS)
        except Silent:
            continue
        return
    raise Silent("what it publishes does not come")


def _launch(
    contender: Contender, board: Compared, client: BlockingKernelClient, argv: list[str], file: Path
) -> Kernel:
    """Start a contender's process, as jupyter_client does."""
    name, value = "RKERNEL_BENCHMARK", file.stem
    log = file.with_suffix(".log")
    stdin = file if contender.typed else Path(os.devnull)
    with log.open("wb") as output, stdin.open() as typed:
        process = subprocess.Popen(
            argv,
            stdin=typed,
            stdout=output,
            stderr=output,
            env={**board.environment, "JPY_PARENT_PID": str(os.getpid()), name: value},
            start_new_session=True,
        )
    return Kernel(contender.name, board, client, process, log, f"{name}={value}")


def _end(kernel: Kernel) -> None:
    kernel.client.shutdown()
    kernel.client.stop_channels()  # ssh -L waits for the end of what goes through it
    try:
        kernel.process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        pass  # as other launchers do; ended with the rest
    finally:
        processes.end_marked(kernel.mark)
        kernel.process.wait()
