"""Start our code on a board where nothing but Python is installed, and get a link to its agent.

Both go over the stdin and stdout of one program. The board first serves rpyc there, with the rpyc
that is installed on this PC: what the board has of it does not matter. Then it hands the same
stream over to its agent.

    PC: "exit 79", for a shell that a startup file may have put in the place of our program
    PC: one line, a Python literal: board_agent/bootstrap/first_stage.py and how to call it
    board: [whatever its shell prints]
    board: MARKER {"python": …}         our program runs
    board: MARKER {"need": true}        PC: rpyc's modules
    board: MARKER {"kept": …}           PC: rpyc
    board: MARKER {"handed": true}      PC: the link

When the launcher dials again, the literal is board_agent/bootstrap/handover.py, which says only the
last of these, or MARKER {"error": …}.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import json
import re
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .. import errors
from ..sanitize import escape_controls
from ..transports.stream import CHUNK, Start, Stream
from . import package_managers
from .agent_endpoint import AgentEndpoint
from .rpyc import session as rpyc_session
from .rpyc.session import Session

# Reads byte by byte, so that it takes no byte of what follows its line: that is short, and says how
# much it is. The quoting of every shell leaves ours whole, since it holds no single quote, dollar,
# exclamation mark or backslash. The line for a shell may be gone: one that ended took it.
_ONE_LINE = (
    'import io,os;f=io.open(0,"rb",0,closefd=False);l=f.readline();'
    'exec(eval((f.readline()if l[:5]==b"exit "else l)or"os._exit(78)"))'
)
_FOR_A_SHELL = b"exit 79\n"

_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})")
_MARKER = "rkernel-first-stage: "
_HANDED = b"\n" + _MARKER.encode() + b'{"handed": true}\n'
_NO_AGENT = "no agent"  # of board_agent.bootstrap.handover
START_SECONDS = 60.0  # for a slow board to start its Python, once it has said anything
PEER_TIMEOUT = (
    300.0  # seconds without a request, as while a person thinks, after which a board gives up
)

# Also runs on Python 2.7 and 3.0 to 3.7, far enough to say so. The marker is put together there:
# where a terminal echoes what we send, our own line must not look like the answer to it.
_PRELUDE = """
import os, sys
marker = "\\nrkernel" + {tail!r}
line = '%s{{"python": "%d.%d.%d"}}\\n' % ((marker,) + sys.version_info[:3])
os.write(1, line.encode("ascii"))
if sys.version_info < (3, 8):
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
_NO_INPUT = 78  # what our own line exits with when its stdin is closed
_OTHER_SHELL = 79  # what a shell exits with that reads our lines
_NO_COMMAND = (126, 127)  # The statuses of a POSIX shell for: cannot be run, not found.
_LAST_WORDS = ("Traceback (", "Fatal Python error", "Python path configuration")
_NOT_FOUND = ("not found", "inaccessible")  # What shells say of it, where no status comes.


def open_session(start: Start, python: str, timeout: float) -> Session:
    """Start our code on a board.

    Args:
        start: How to start a program there.
        python: The interpreter, as the board knows it.
        timeout: Seconds, for all of this, and then for each request.

    Raises:
        RkernelError: What `start` raises; NoPython, OldPython, BoardSilent, FirstStageFailed.
    """
    stream = _started(start, python, _stage(), timeout)
    try:
        _feed(stream, min(timeout, START_SECONDS))
        return rpyc_session.over_stream(stream, timeout)
    except BaseException:
        stream.close()
        raise


def hand_over(session: Session, agent: AgentEndpoint, host: str) -> Stream:
    """Have the board hand the stream of a session over to its agent.

    Args:
        session: The session, which is over then.
        agent: The agent.
        host: The board's name for people.

    Raises:
        RkernelError: AgentRefused, and what sessions raise.
    """
    said = session.hand_over(_HANDED, "hand_over", agent.socket, f"\n{_MARKER}")
    if isinstance(said, Stream):
        return said
    raise errors.NoHandover(host=host, detail=_detail(said))


def redial(start: Start, python: str, agent: AgentEndpoint, host: str, timeout: float) -> Stream:
    """Start a program on the board that hands its stream over to the agent.

    Args:
        start: How to start a program there.
        python: The interpreter, as the board knows it.
        agent: The agent.
        host: The board's name for people.
        timeout: Seconds.

    Raises:
        RkernelError: What `start` raises; AgentRefused if there is no agent, NoHandover if it does
            not take the stream, NoPython, BoardSilent, FirstStageFailed.
    """
    stream = _started(start, python, _handover(agent.socket), timeout)
    try:
        with _limits(stream, timeout):
            facts = _heard(stream, bytearray(), timeout, runs=False)
        if "handed" in facts:
            return stream
        raise (errors.AgentGone if facts.get("error") == _NO_AGENT else errors.NoHandover)(
            host=host, detail=_detail(facts)
        )
    except BaseException:
        stream.close()
        raise


def _started(start: Start, python: str, line: bytes, timeout: float) -> Stream:
    # -S: nothing that is installed there is of use, and to look for it takes time
    return start([python, "-S", "-c", _ONE_LINE], line, timeout)


def _feed(stream: Stream, timeout: float) -> None:
    """Feed the first stage, which has its first line, until it serves rpyc."""
    noise = bytearray()
    with _limits(stream, timeout):
        _check_python(_heard(stream, noise, timeout, runs=False))
        if _heard(stream, noise, timeout).get("need"):
            with suppress(ConnectionError):  # it has ended; what it left to be read says why
                stream.write(_code(), timeout)
            _heard(stream, noise, timeout)


@contextmanager
def _limits(stream: Stream, timeout: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise errors.BoardSilent(seconds=timeout) from None
    except OSError as error:
        raise _failure(stream, str(error), True) from error


def _detail(said: Any) -> str:
    error = said.get("error") if isinstance(said, dict) else None
    return escape_controls(str(error)[:200])


def _heard(stream: Stream, noise: bytearray, timeout: float, runs: bool = True) -> dict[str, Any]:
    """Wait for the next line that starts with the marker, past whatever else is printed.

    Args:
        stream: To the board.
        noise: What has been read, and stays to be looked at.
        timeout: Seconds.
        runs: Whether our program is known to have started.
    """
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        at = 0
        for line in bytes(noise).splitlines(keepends=True):
            at += len(line)
            if line.startswith(_MARKER.encode()) and line.endswith(b"\n"):
                del noise[:at]
                return _json(line[len(_MARKER) :])
        if len(noise) > _MAX_NOISE:
            raise errors.FirstStageFailed(detail="it prints without end before our code starts")
        try:
            part = stream.read(CHUNK, left)
        except TimeoutError:
            continue
        except ConnectionError:  # it has ended, and did not read all that we sent
            part = b""
        if not part:
            raise _failure(stream, noise.decode("utf-8", "replace"), runs)
        noise += part
    said = [line for line in noise.decode("utf-8", "replace").splitlines() if line.strip()]
    if said and not runs:
        raise errors.ShellSilent(seconds=timeout, detail=escape_controls(said[-1].strip()[:200]))
    raise TimeoutError


def _json(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise _unknown(line.decode("utf-8", "replace"))
    return said


def _check_python(facts: dict[str, Any]) -> None:
    python = facts.get("python")
    match = _VERSION.fullmatch(python) if isinstance(python, str) else None
    if match is None:
        raise _unknown(str(facts))
    if (int(match[1]), int(match[2])) < (3, 8):
        raise errors.OldPython(version=f"{match[1]}.{match[2]}")


def _unknown(said: str) -> errors.FirstStageFailed:
    return errors.FirstStageFailed(detail=f"it said {escape_controls(said[:200])}")


def _failure(stream: Stream, said: str, runs: bool) -> errors.RkernelError:
    """Tell from what the command left behind why it ended."""
    status, stderr = stream.ending(2.0)
    last = (stderr.strip() or said.strip()).rpartition("\n")[2]
    if status == _NO_INPUT:
        return errors.NoInput()
    if status in _NO_COMMAND or (status is None and any(words in last for words in _NOT_FOUND)):
        return errors.NoPython(detail=escape_controls(last) or f"status {status}")
    if status == _OTHER_SHELL:
        return errors.ShellEnded(detail="it started another shell")
    if missing := package_managers.trimmed(last, None, []):
        return missing
    failed = errors.FirstStageFailed if runs or _is_of_python(stderr) else errors.ShellEnded
    return failed(detail=escape_controls(last).rstrip(".") or f"it ended with status {status}")


def _is_of_python(stderr: str) -> bool:
    return any(words in stderr for words in _LAST_WORDS)


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
    return _program(prelude)


def _handover(path: str) -> bytes:
    """Make the line that hands over to an agent, by the path of its Unix socket."""
    file = importlib.resources.files("board_agent").joinpath("bootstrap", "handover.py")
    tail = _MARKER.removeprefix("rkernel")
    source = file.read_text("utf-8")
    return _program(f'{source}\nmain("\\nrkernel" + {tail!r}, {path!r})\n')


def _program(source: str) -> bytes:
    """Make what `_ONE_LINE` reads and runs."""
    data = source.encode("utf-8")
    line = b"'exec(io.open(0,\"rb\",closefd=False).read(%d))'\n" % len(data)
    return _FOR_A_SHELL + line + data


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
