"""The frontend reads why there is no kernel: each client as it is, on a launcher that has none."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import nbformat
import pytest
from jupyter_client import AsyncKernelClient, BlockingKernelClient
from jupyter_client.ioloop import AsyncIOLoopKernelManager
from jupyter_client.kernelspec import KernelSpecManager

from board_agent.link.event_loop import Loop
from rkernel_launcher.errors import NoPython
from rkernel_launcher.launcher import connection_file, last_words
from rkernel_launcher.launcher.channels import Channels
from rkernel_launcher.launcher.last_words import LastWords
from rkernel_launcher.launcher.stand_in import StandIn
from tests.local.launcher.test_vscode import opened
from tests.support.boards import Board, wait_until, write_spec
from tests.support.kernels import Frontend, Message, attached_at_once, launched, seconds_of, started

NOWHERE = ("--python", "/nowhere/python")
NO_PYTHON = "The board could not start Python (there is no /nowhere/python). Install Python 3.8"
DIED = "The kernel ended with exit status 3. Start it again from the frontend."
DEATH = "import os; os._exit(3)"


@contextmanager
def failing(board: Board, *options: str) -> Iterator[Frontend]:
    """Start a launcher that cannot start its kernel, and wait until it answers."""
    with launched(board, *(options or NOWHERE)) as kernel:
        kernel.client.wait_for_ready(timeout=board.limit)
        yield kernel


# --- a kernel that does not start -----------------------------------------------------------------


def test_a_kernel_that_does_not_start_says_why(board: Board) -> None:
    with failing(board) as kernel:
        info = kernel.client.kernel_info(reply=True, timeout=board.limit)["content"]
        assert info["banner"].startswith(NO_PYTHON)
        assert kernel.said().startswith(NO_PYTHON)  # at once, for the frontend's own log
        result = kernel.run("print(1)")
        (error,) = result.of("error")
        assert error["evalue"].startswith(NO_PYTHON)
        assert result.reply["content"]["status"] == "error"
        assert kernel.wait_for_end(5) == 1
        assert len(kernel.said().splitlines()) == 1


def test_options_that_the_launcher_does_not_know(board: Board) -> None:
    with failing(board, "--of-another-version", "1") as kernel:
        reply = kernel.run("1").reply["content"]
        assert "rkernel add again" in reply["evalue"]
        assert kernel.wait_for_end(5) == 1


def test_cells_that_are_sent_at_once_are_all_answered(board: Board) -> None:
    with failing(board) as kernel:
        numbers = [kernel.send(f"print({n})") for n in range(5)]
        for number in numbers:
            assert kernel.reply(number)["content"]["status"] == "error"
        assert kernel.wait_for_end(5) == 1


def test_all_clients_are_told(board: Board) -> None:
    with failing(board) as kernel, attached_at_once(kernel) as other:
        other.client.wait_for_ready(timeout=board.limit)
        reply = kernel.send("1"), other.send("2")
        for client, number in zip((kernel, other), reply, strict=True):
            assert client.reply(number)["content"]["evalue"].startswith(NO_PYTHON)


def test_a_request_to_end_ends_it_at_once(board: Board) -> None:
    with failing(board) as kernel:
        kernel.control("interrupt_request")
        reply = kernel.control("shutdown_request", {"restart": False})
        assert reply["content"] == {"status": "ok", "restart": False}
        assert kernel.wait_for_end(2) == 1


def test_a_restart_after_the_repair_meets_the_kernel_alone(board: Board) -> None:
    """The new launcher has the same ports: the old one must not answer for it."""
    python = board.folder / "python-later"
    with failing(board, "--python", str(python)) as kernel:
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        before = kernel.manager.get_connection_info()
        kernel.restart()
        assert kernel.manager.get_connection_info() == before
        info = kernel.client.kernel_info(reply=True, timeout=board.limit)["content"]
        assert info["implementation"] == "ipython"
        assert kernel.run("print('here')").text() == "here\n"
    python.unlink()


def test_a_second_launcher_on_the_ports_of_one_that_tells_why(board: Board) -> None:
    with failing(board) as kernel:
        argv = [*board.argv()[:-1], kernel.manager.connection_file]
        second = subprocess.run(argv, env=board.environment, capture_output=True, timeout=30)
        assert second.returncode == 1 and b"The launcher cannot listen at" in second.stderr
        assert kernel.run("1").reply["content"]["evalue"].startswith(NO_PYTHON)


def test_it_ends_without_clients(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """And stays while one is there, or a frontend would start it again and again."""
    monkeypatch.setattr(last_words, "LIMIT", 1.0)
    with connection_file.made() as path:
        connection = connection_file.read(str(path))
        for waits, with_client in ((False, True), (True, False), (True, True)):
            loop = Loop()
            channels = Channels(loop, connection, lambda error: None)
            words = LastWords(
                loop, channels, StandIn(connection, "board"), NoPython(detail="?"), waits
            )
            client = BlockingKernelClient(connection_file=str(path))
            client.load_connection_file()
            if with_client:
                client.start_channels()
            cancel = loop.call_later(3.5, loop.stop)
            with closing(loop), closing(channels):
                seconds = seconds_of(words.run)
                cancel()
            client.stop_channels()
            assert (seconds > 3) == (waits and with_client)


# --- a kernel that dies ---------------------------------------------------------------------------


def test_the_cell_that_ran_says_why_the_kernel_has_died(board: Board) -> None:
    with started(board) as kernel:
        kernel.run("kept = 1")
        cells = [kernel.send(code) for code in (DEATH, "print('later')")]
        result = kernel.finish(cells[0])
        assert result.of("error")[0]["evalue"] == DIED
        assert result.reply["content"]["evalue"] == DIED
        assert kernel.reply(cells[1])["content"]["status"] == "aborted"
        assert kernel.wait_for_end(5) == 3


def test_a_cell_that_ends_its_process_with_0_is_told_too(board: Board) -> None:
    with started(board) as kernel:
        reply = kernel.run("import os; os._exit(0)").reply["content"]
        assert "ended with exit status 0" in reply["evalue"]
        assert kernel.wait_for_end(5) == 0


def test_a_cell_that_ends_the_kernel_in_order(board: Board) -> None:
    with started(board) as kernel:
        assert kernel.run("exit()").reply["content"]["status"] == "ok"
        assert kernel.wait_for_end(5) == 0
        assert kernel.said() == ""


def test_a_shutdown_while_a_cell_runs_is_no_death(board: Board) -> None:
    with started(board) as kernel:
        kernel.send("print('begun', flush=True)\nimport time\ntime.sleep(2)")
        kernel.until_printed("begun")
        kernel.control("shutdown_request", {"restart": False})
        assert kernel.wait_for_end(board.limit) == 0
        assert kernel.said() == ""


def test_the_cell_after_a_death_says_why(board: Board) -> None:
    with started(board) as kernel:
        pid = int(kernel.value("__import__('os').getpid()"))
        os.kill(pid, 9)
        told = kernel.reason(board.limit)
        assert "was ended by signal 9 (SIGKILL)" in told
        assert kernel.wait_for_end(5) == 137


# --- a start that takes long ----------------------------------------------------------------------


@pytest.fixture
def slow(board: Board) -> Iterator[tuple[str, ...]]:
    """Give the options of a kernel whose Python takes its time."""
    python = board.folder / "slow-python"
    python.write_text(f'#!/bin/sh\nsleep 6\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    yield ("--python", str(python))
    python.unlink()


def test_a_start_that_takes_long_says_so_and_keeps_the_cells(
    board: Board, slow: tuple[str, ...]
) -> None:
    with launched(board, *slow) as kernel:
        kernel.client.wait_for_ready(timeout=board.limit)
        info = kernel.client.kernel_info(reply=True, timeout=board.limit)["content"]
        assert info["banner"] == ("The kernel is not ready yet: this machine: starting the kernel.")
        first, second = (
            kernel.send("print('ü')"),
            kernel.send("kept = input('?')", allow_stdin=True),
        )
        result = kernel.finish(first)
        assert result.text("stderr") == "this machine: starting the kernel…\n"
        assert result.text() == "ü\n" and result.reply["content"]["status"] == "ok"
        kernel.client.get_stdin_msg(timeout=board.limit)
        kernel.client.input("世界")
        assert kernel.finish(second).reply["content"]["status"] == "ok"
        assert kernel.value("kept") == "'世界'"
        info = kernel.client.kernel_info(reply=True, timeout=board.limit)["content"]
        assert info["implementation"] == "ipython"


def test_a_cell_that_waits_can_be_interrupted(board: Board, slow: tuple[str, ...]) -> None:
    with launched(board, *slow) as kernel:
        kernel.client.wait_for_ready(timeout=board.limit)
        number = kernel.send("print('never')")
        kernel.until_printed("starting the kernel")
        kernel.control("interrupt_request")
        assert kernel.finish(number).reply["content"]["ename"] == "KeyboardInterrupt"
        assert kernel.run("print('then')").text() == "then\n"


def test_a_start_that_takes_long_can_be_ended(board: Board, slow: tuple[str, ...]) -> None:
    with launched(board, *slow) as kernel:
        kernel.client.wait_for_ready(timeout=board.limit)
        kernel.control("shutdown_request", {"restart": False})
        assert kernel.wait_for_end(2) == 0
        assert kernel.said() == ""


# --- clients as they are --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [(NOWHERE, "print(1)", NO_PYTHON), ((), DEATH, DIED)],
    ids=["start", "death"],
)
class TestClients:
    def test_nbclient(
        self, board: Board, tmp_path: Path, options: tuple[str, ...], code: str, sentence: str
    ) -> None:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        nbformat.write(notebook, tmp_path / "it.ipynb")
        command = [sys.executable, "-c", "from nbclient.cli import main; main()"]
        with spec(board, options) as name:
            run = subprocess.run(
                [*command, "it.ipynb", f"--kernel_name={name}"],
                cwd=tmp_path,
                env=board.environment,
                capture_output=True,
                text=True,
                timeout=board.limit,
            )
        assert run.returncode != 0
        assert "CellExecutionError" in run.stderr and sentence in run.stderr

    def test_jupyter_console(
        self, board: Board, options: tuple[str, ...], code: str, sentence: str
    ) -> None:
        with spec(board, options) as name, terminal(board, name) as screen:
            screen.wait_for("In [1]:")
            screen.type(code)
            screen.wait_for(sentence)

    def test_vscode(self, board: Board, options: tuple[str, ...], code: str, sentence: str) -> None:
        with opened(board, *options) as host:
            host.probe()
            host.connect()
            own = host.send("shell", "execute_request", {"code": "1", "store_history": False})
            host.reply("shell", own)  # as the extension does before the user's first cell
            number = host.execute(code)
            published = {m["msg_type"]: m["content"] for m in host.published(number)}
            assert published["error"]["evalue"].startswith(sentence)
            assert host.reply("shell", number)["evalue"].startswith(sentence)
            wait_until(host.gone, "the launcher ends", board.limit)
            assert host.process.returncode == (3 if code is DEATH else 1)


# --- frontends that start an ended kernel again ---------------------------------------------------


def test_no_launcher_is_started_again_and_again(board: Board) -> None:
    """jupyter_client looks every 3 s, and would start one that has ended 5 times."""

    async def scene(name: str) -> None:
        async with restarting(board, name) as km:
            for _ in range(2):
                async with connected(km, board) as client:
                    launcher = km.provisioner.pid
                    await asyncio.sleep(8)
                    assert km.provisioner.pid == launcher, "it was started again"
                    reply = await reply_to(client, client.execute("print(1)"), board)
                    assert reply["evalue"].startswith(NO_PYTHON)
                await another(km, launcher, board)  # a new attempt, once the reason has been read

    with spec(board, NOWHERE) as name:
        asyncio.run(scene(name))


def test_a_kernel_that_has_died_is_started_again(board: Board) -> None:
    async def scene(name: str) -> None:
        async with restarting(board, name) as km:
            async with connected(km, board) as client:
                launcher = km.provisioner.pid
                reply = await reply_to(client, client.execute(DEATH), board)
                assert reply["evalue"] == DIED
            await another(km, launcher, board)
            async with connected(km, board) as client:
                reply = await reply_to(client, client.execute("print(1)"), board)
                assert reply["status"] == "ok"

    with spec(board, ()) as name:
        asyncio.run(scene(name))


# --- what the tests above need --------------------------------------------------------------------


@contextmanager
def spec(board: Board, options: tuple[str, ...]) -> Iterator[str]:
    """Write a kernelspec for a time, and give its name."""
    write_spec(board.specs, "telling", board.argv(*options), interrupt_mode="message")
    try:
        yield "telling"
    finally:
        shutil.rmtree(board.specs / "telling")


class Terminal:
    """A program at a terminal, and what it has shown."""

    def __init__(self, descriptor: int, limit: float) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self.shown = ""

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._descriptor, line.encode() + b"\r")

    def wait_for(self, text: str) -> None:
        """Wait until a text is shown, wherever its lines break."""
        wanted = re.sub(r"\s", "", text)
        wait_until(lambda: wanted in self._read(), f"{text!r} in the terminal", self._limit)

    def _read(self) -> str:
        while select.select([self._descriptor], [], [], 0)[0]:
            try:
                self.shown += os.read(self._descriptor, 4096).decode("utf-8", "replace")
            except OSError:
                break  # the program has ended
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\s", "", self.shown)


@contextmanager
def terminal(board: Board, kernel: str) -> Iterator[Terminal]:
    """Run jupyter console at a terminal, and end it and its kernel at last."""
    ours, theirs = pty.openpty()
    console = [sys.executable, "-m", "jupyter_console", "--simple-prompt", "--kernel", kernel]
    process = subprocess.Popen(
        console, env=board.environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        yield Terminal(ours, board.limit)
    finally:
        process.terminate()
        process.wait(board.limit)
        os.close(ours)


@asynccontextmanager
async def restarting(board: Board, name: str) -> AsyncIterator[AsyncIOLoopKernelManager]:
    """Start a kernel that is started again when its launcher ends, as Jupyter's server does it."""
    specs = KernelSpecManager(kernel_dirs=[str(board.specs)])
    km = AsyncIOLoopKernelManager(kernel_name=name, kernel_spec_manager=specs)
    await km.start_kernel(env=board.environment)
    try:
        yield km
    finally:
        await km.shutdown_kernel()


@asynccontextmanager
async def connected(km: AsyncIOLoopKernelManager, board: Board) -> AsyncIterator[AsyncKernelClient]:
    """Connect a client of a kernel, and wait until it answers."""
    client = km.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=board.limit)
        yield client
    finally:
        client.stop_channels()


async def reply_to(client: AsyncKernelClient, number: str, board: Board) -> Message:
    """Return the content of the reply to a request."""
    while True:
        reply = await client.get_shell_msg(timeout=board.limit)
        if reply["parent_header"].get("msg_id") == number:
            return dict(reply["content"])


async def another(km: AsyncIOLoopKernelManager, launcher: int, board: Board) -> None:
    """Wait until another launcher runs."""
    async with asyncio.timeout(board.limit):
        while not km.has_kernel or km.provisioner.pid in (launcher, None):
            await asyncio.sleep(0.05)
        await km.ready
