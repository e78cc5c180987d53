"""Run what users and frontends run, as they do: the command, and the launcher."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import selectors
import signal
import string
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from rkernel_launcher.errors import RkernelError
from tests.support.boards import Board
from tests.support.namespaces import Namespace
from tests.support.ports import unused_port
from tests.support.requirements import skip_or_fail

LIMIT = 120.0  # seconds for a command
PYTHON = sys.executable

_RKERNEL = "import sys; from rkernel_launcher.cli.main import main; sys.exit(main())"
Run = subprocess.CompletedProcess[str]

# As in the readme of MaixPy3's notebooks, on a port of its own, which it prints.
_SLAVE_SERVICE = """
import sys
from rpyc.utils.server import ThreadedServer
from rpyc.core.service import SlaveService
address = sys.argv[1]
server = ThreadedServer(
    SlaveService, hostname=address, port=0, reuse_addr=True, ipv6=":" in address
)
server.listener.listen()
print(server.port, flush=True)
server.start()
"""


def argv(*arguments: str) -> list[str]:
    """Return the command line of `rkernel`."""
    return [PYTHON, "-W", "error", "-c", _RKERNEL, *arguments]


def rkernel(*arguments: str, network: Namespace | None = None) -> Run:
    """Run `rkernel` where there is no terminal, in this network or another one."""
    return _run(_within(network, argv(*arguments)))


def at_terminal(answers: list[str], *arguments: str, network: Namespace | None = None) -> Run:
    """Run `rkernel` with a terminal to read from, and answer the questions that it puts."""
    ours, theirs = pty.openpty()
    pipe = subprocess.PIPE
    command = _within(network, argv(*arguments))
    with (
        os.fdopen(ours, "wb", buffering=0) as keyboard,
        subprocess.Popen(command, stdin=theirs, stdout=pipe, stderr=pipe) as process,
        selectors.DefaultSelector() as ready,
    ):
        os.close(theirs)
        said = {process.stdout: b"", process.stderr: b""}
        for stream in said:
            assert stream is not None
            ready.register(stream, selectors.EVENT_READ)
        deadline = time.monotonic() + LIMIT
        while ready.get_map():
            if time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"{arguments} did not end within {LIMIT} s; it said {said}")
            for key, _ in ready.select(1.0):
                data = os.read(key.fd, 1 << 16)
                said[key.fileobj] += data  # type: ignore[index]
                if not data:
                    ready.unregister(key.fileobj)
                elif said[key.fileobj].endswith((b": ", b"? ")):  # type: ignore[index]
                    assert answers, f"a question too many: {said}"
                    keyboard.write(answers.pop(0).encode() + b"\n")
        status = process.wait(LIMIT)
    assert not answers, f"it did not ask for {answers}: {said}"
    return subprocess.CompletedProcess(command, status, *(v.decode() for v in said.values()))


def launcher(*arguments: str, connection_file: Path) -> Run:
    """Run the launcher until it ends.

    A launcher that stays to say why there is no kernel is asked to shut down once it has said so
    on stderr, as it does before it says it to a frontend.
    """
    command = [PYTHON, "-m", "rkernel_launcher", *arguments, "-f", str(connection_file)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, text=True, **pipes))
        watchdog = threading.Timer(LIMIT, process.kill)
        watchdog.start()
        stack.callback(watchdog.cancel)
        assert process.stderr is not None
        first = process.stderr.readline()
        if first:
            client = BlockingKernelClient(connection_file=str(connection_file))
            with suppress(Exception):  # a file that the launcher cannot read either
                client.load_connection_file()
                client.shutdown()
                stack.callback(client.control_channel.stop)
        stdout, stderr = process.communicate()
        assert process.returncode != -signal.SIGKILL, f"it did not end within {LIMIT} s"
    return subprocess.CompletedProcess(command, process.returncode, stdout, first + stderr)


def connection_file(home: Board, **more: object) -> Path:
    """Write a connection file."""
    channels = ("shell", "iopub", "stdin", "control", "hb")
    content: dict[str, object] = {f"{channel}_port": unused_port() for channel in channels}
    content |= {"ip": "127.0.0.1", "transport": "tcp", "key": "key", **more}
    path = home.folder / "connection.json"
    path.write_text(json.dumps(content))
    return path


def kernels(home: Board) -> list[str]:
    """Return the names of all kernelspecs of that home, and whatever else is beside them."""
    folder = Path(home.environment["JUPYTER_DATA_DIR"])
    return sorted(path.name for path in [*folder.glob("kernels/*"), *folder.glob(".*")])


def assert_refused(run: Run, error: type[RkernelError], *words: str, status: int = 1) -> None:
    """Make sure that a command said one thing, which is this error's sentence, and nothing else.

    Parameters: words that the sentence must contain, for what the error is about.
    """
    assert run.returncode == status, run.stderr
    assert re.fullmatch(_pattern(error), run.stderr.strip(), re.DOTALL), run.stderr
    assert "Traceback" not in run.stderr
    assert run.stderr.strip().count("\n") == 0, run.stderr
    assert run.stderr.strip().isprintable()
    for word in words:
        assert word in run.stderr


def _pattern(error: type[RkernelError]) -> str:
    parts = string.Formatter().parse(f"{error.message} {error.remedy}")
    sentence = "".join(re.escape(text) + (".+" if field else "") for text, field, *_ in parts)
    return sentence + r"( \(log: .+\))?"


@contextmanager
def slave_service(
    address: str = "127.0.0.1", within: Callable[..., list[str]] = lambda *words: list(words)
) -> Iterator[int]:
    """Run rpyc's SlaveService at an address of this machine; give its port.

    Parameters: within, which makes of its command one that runs it in another network.
    """
    command = within(PYTHON, "-c", _SLAVE_SERVICE, address)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _within(network: Namespace | None, command: list[str]) -> list[str]:
    return network.within(*command) if network else command


def _run(command: list[str]) -> Run:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT
    )


@contextmanager
def disk(folder: Path, *options: str) -> Iterator[Path]:
    """Mount a disk of its own at a new folder; `options` are those of mount."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(folder), "-o", ",".join(options)]
    if subprocess.run(mount, capture_output=True).returncode:
        skip_or_fail("mounting a disk for the test needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no space on a folder's disk."""
    try:
        with (folder / "full").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))
    except OSError as error:
        assert error.errno == errno.ENOSPC


def wrapper(path: Path, case: str) -> str:
    """Write a Python that does something else for certain command lines.

    Parameters: case, what sh is to do for which of them, such as "*kernel*) exit 3;;".
    """
    path.write_text(f'#!/bin/sh\ncase "$*" in {case} esac\nexec {PYTHON} "$@"\n')
    path.chmod(0o755)
    return str(path)
