"""Start our code on a board that has only Python, over a command's stdin and stdout.

`command` returns what to run there; `handshake` feeds it. The board then serves rpyc on the same
stream, with the rpyc that is installed on this PC: a board's own rpyc does not matter.

    board: [whatever its shell prints]          PC: one line, a Python literal: board_agent/
                                                    bootstrap/first_stage.py and how to call it
    board: MARKER {"python": …, "need": true}   PC: rpyc's modules
    board: MARKER {"python": …, "kept": …}      PC: rpyc
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import json
import re
import shlex
import time
import zlib
from typing import Any

from ... import errors
from ...sanitize import escape_controls
from .streams import CHUNK, ProcessStream, Stream

# Reads byte by byte, so that it takes no byte of what follows its line. The quoting of every shell
# leaves it whole, since it holds no single quote, dollar, exclamation mark or backslash.
_ONE_LINE = 'import io;exec(eval(io.open(0,"rb",0,closefd=False).readline()))'

_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})")
_MARKER = "rkernel-first-stage: "
PEER_TIMEOUT = 300.0  # seconds without a request, as while a person thinks; then a board gives up

# Also runs on Python 2.7 and 3.0 to 3.7, far enough to say so. The board puts the marker together:
# where a terminal echoes what we send, our own line must not look like the answer to it.
_PRELUDE = """
import os, sys
marker = "\\nrkernel" + {tail!r}
if sys.version_info < (3, 8):
    line = '%s{{"python": "%d.%d.%d"}}\\n' % ((marker,) + sys.version_info[:3])
    os.write(1, line.encode("ascii"))
    sys.exit(1)
stage = {{"__name__": "rkernel_first_stage"}}
exec({source!r}, stage)
stage["main"](marker, {key!r}, {size}, {packages!r}, {peer_timeout})
"""

# What a SlaveService over a PipeStream needs of rpyc, each after what it imports itself.
_PACKAGES = ["rpyc", "rpyc.core", "rpyc.lib"]
_MODULES = [
    *("rpyc.version", "rpyc.lib.compat", "rpyc.lib", "rpyc.lib.colls"),
    *("rpyc.core.consts", "rpyc.core.brine", "rpyc.core.vinegar", "rpyc.core.netref"),
    *("rpyc.core.async_", "rpyc.core.channel", "rpyc.core.stream", "rpyc.core.protocol"),
    "rpyc.core.service",
]

_MAX_NOISE = 1 << 16  # Bytes that a board's shell may print before we give up.
_NO_COMMAND = (126, 127)  # The statuses of a POSIX shell for: cannot be run, not found.


def argv(python: str) -> list[str]:
    """Return the argv that starts the first stage in a child process of this machine.

    Args:
        python: The path of the interpreter.
    """
    return [python, "-c", _ONE_LINE]


def command(python: str) -> str:
    """Return the command line that starts the first stage on a board.

    Args:
        python: The path of the interpreter on the board; it may begin with ~/.

    Returns:
        One line for the board's shell.
    """
    home = "~/" if python.startswith("~/") else ""  # without quotes, so that the shell replaces it
    return home + shlex.join(argv(python.removeprefix(home)))


def start(python: str) -> ProcessStream:
    """Start the first stage in a child process of this machine.

    Args:
        python: The path of the interpreter.

    Returns:
        A stream to it, ready for the handshake.

    Raises:
        NoPython: It does not start.
    """
    try:
        return ProcessStream.start(argv(python))
    except OSError as error:
        raise errors.NoPython(detail=f"{python}: {error.strerror}") from error


def handshake(stream: Stream, timeout: float) -> dict[str, Any]:
    """Feed the first stage until it serves rpyc.

    Args:
        stream: To the command's stdin and stdout. It stays open, and the caller closes it, whatever
            happens.
        timeout: How many seconds all of it may take.

    Returns:
        What the board said: "python", its version, and "kept", whether its cache contains rpyc now.

    Raises:
        NoPython: The board's shell cannot start the command.
        OldPython: The board's Python is older than 3.8.
        BoardSilent: The board did not answer in time.
        FirstStageFailed: Something else answered, or the command ended.
    """
    deadline = time.monotonic() + timeout
    try:
        facts = _ask(stream, _stage(), deadline)
        if facts.get("need"):
            facts = _ask(stream, _code(), deadline)
    except TimeoutError:
        raise errors.BoardSilent(seconds=timeout) from None
    except OSError as error:
        raise _failure(stream, str(error)) from error
    return facts


def _ask(stream: Stream, data: bytes, deadline: float) -> dict[str, Any]:
    """Send data and wait for the line that answers it."""
    try:
        stream.write(data, deadline - time.monotonic())
    except TimeoutError:
        raise
    except OSError:
        pass  # The command has ended: its output says why.
    return _receive_line(stream, deadline)


def _receive_line(stream: Stream, deadline: float) -> dict[str, Any]:
    """Wait for the next line that starts with the marker, and skip any other output."""
    noise = bytearray()
    while (left := deadline - time.monotonic()) > 0:
        for line in bytes(noise).splitlines(keepends=True):
            if line.startswith(_MARKER.encode()) and line.endswith(b"\n"):
                return _facts(line[len(_MARKER) :])
        if len(noise) > _MAX_NOISE:
            raise errors.FirstStageFailed(detail="it prints without end before our code starts")
        part = stream.read(CHUNK, left)
        if not part:
            raise _failure(stream, noise.decode("utf-8", "replace"))
        noise += part
    raise TimeoutError


def _facts(line: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError):
        facts = None
    python = facts.get("python") if isinstance(facts, dict) else None
    match = _VERSION.fullmatch(python) if isinstance(python, str) else None
    if match is None:
        detail = escape_controls(line[:200].decode("utf-8", "replace"))
        raise errors.FirstStageFailed(detail=f"it said {detail}")
    if (int(match[1]), int(match[2])) < (3, 8):
        raise errors.OldPython(version=f"{match[1]}.{match[2]}")
    return dict(facts)


def _failure(stream: Stream, output: str) -> errors.RkernelError:
    """Return the error for a command that has ended, from its status and its output."""
    status, stderr = stream.ending(2.0)
    last = (stderr.strip() or output.strip()).rpartition("\n")[2]
    if status in _NO_COMMAND:
        return errors.NoPython(detail=escape_controls(last) or f"status {status}")
    return errors.FirstStageFailed(detail=escape_controls(last) or f"it ended with status {status}")


@functools.cache
def _stage() -> bytes:
    """Make the line that the board's Python evaluates and runs."""
    stage = importlib.resources.files("board_agent").joinpath("bootstrap", "first_stage.py")
    prelude = _PRELUDE.format(
        tail=_MARKER.removeprefix("rkernel"),
        source=stage.read_text("utf-8"),
        key=hashlib.sha256(_code()).hexdigest()[:16],
        size=len(_code()),
        packages=_PACKAGES,
        peer_timeout=PEER_TIMEOUT,
    )
    return ascii(prelude).encode("ascii") + b"\n"


@functools.cache
def _code() -> bytes:
    """Pack the sources of rpyc's modules."""
    root = importlib.resources.files("rpyc")
    sources = []
    for name in _MODULES:
        path = name.removeprefix("rpyc.").replace(".", "/")
        file = root.joinpath(path + ("/__init__.py" if name in _PACKAGES else ".py"))
        sources.append((name, file.read_text("utf-8")))
    return zlib.compress(json.dumps(sources).encode("ascii"), 9)
