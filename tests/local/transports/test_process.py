"""Programs of this PC that carry a stream: how they are started, told apart, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from rkernel_launcher import errors
from rkernel_launcher.transports import process
from rkernel_launcher.transports.stream import Ending
from tests.support.boards import wait_until

LIMIT = 30.0
ECHO = "import os, sys\nos.write(1, b'%d\\n' % os.getpid())\n"
ECHO += "while data := os.read(0, 65536): os.write(1, data)"
STUBBORN = "import signal\nfor n in (15, 2): signal.signal(n, signal.SIG_DFL)\n" + ECHO


def python(source: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", source]


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_for_end(pid: int) -> None:
    wait_until(lambda: gone(pid), f"process {pid} has ended", LIMIT)


def test_bytes_go_both_ways_and_the_end_is_told() -> None:
    stream = process.start(python(ECHO), b"first ", LIMIT)
    pid = int(stream.read(20, LIMIT).split()[0])
    data = os.urandom(3_000_000)
    stream.setblocking(False)
    sent, came = 0, b""
    while len(came) < len(data) - 10:
        try:
            sent += stream.send(data[sent:])
        except BlockingIOError:
            pass
        try:
            came += stream.recv(1 << 16)
        except BlockingIOError:
            pass
    assert data.startswith(came.removeprefix(b"first "))
    stream.close()
    wait_for_end(pid)


@pytest.mark.parametrize(
    ("source", "ending"),
    [
        ("import sys; sys.exit('bad luck')", Ending(1, "bad luck\n")),
        ("import os; os.write(2, b'x' * 40_000); os._exit(3)", Ending(3, "x" * (1 << 14))),
        ("import os; os.kill(os.getpid(), 9)", Ending(137, "Killed\n")),
    ],
)
def test_how_a_program_ended(source: str, ending: Ending) -> None:
    stream = process.start(python(source), b"", LIMIT)
    assert stream.read(1, LIMIT) == b""
    status, stderr = stream.ending(LIMIT)
    stream.close()
    assert (status, stderr[-(1 << 10) :]) == (ending.status, ending.stderr[-(1 << 10) :])


def test_no_such_program() -> None:
    with pytest.raises(errors.NoProgram, match="no program no-such-program"):
        process.start(["no-such-program"], b"", LIMIT)


def test_a_program_that_does_not_answer_is_ended(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    source = (
        f"import os; open({str(note)!r}, 'w').write(str(os.getpid()))\nwhile True: os.read(0, 9)"
    )
    with pytest.raises(errors.BoardSilent):
        process.start(python(source), b"hello", 1.0)
    wait_for_end(int(note.read_text()))


def test_a_program_that_does_not_read_and_ignores_its_end_is_killed() -> None:
    source = "import os, time\nos.write(1, b'%d\\n' % os.getpid())\ntime.sleep(600)"
    stream = process.start(python(source), b"", LIMIT)
    pid = int(stream.read(20, LIMIT))
    with pytest.raises(TimeoutError):
        stream.write(bytes(1 << 22), 0.3)
    stream.close()
    stream.close()
    wait_for_end(pid)


def test_signals_to_all_descendants_do_not_reach_it() -> None:
    """VS Code signals every descendant of a launcher; some programs undo that they are ignored."""
    source = (
        "import os, signal, sys\nfrom rkernel_launcher.transports import process\n"
        f"stream = process.start({python(STUBBORN)!r}, b'', 30)\n"
        "print(stream.read(20, 30).decode().strip(), flush=True)\n"
        "for n in (15, 2): signal.signal(n, signal.SIG_IGN)\n"
        "sys.stdin.readline()\n"
        "stream.write(b'still there', 30); print(stream.read(20, 30), flush=True)\n"
        "sys.stdin.readline()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", source], stdin=pipe, stdout=pipe) as launcher:
        assert launcher.stdin is not None and launcher.stdout is not None
        pid = int(launcher.stdout.readline())
        children = psutil.Process(launcher.pid).children(recursive=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            for child in children:
                child.send_signal(number)
        launcher.stdin.write(b"\n")
        launcher.stdin.flush()
        assert launcher.stdout.readline() == b"b'still there'\n"
        assert pid not in [child.pid for child in children]
        launcher.kill()
        wait_for_end(pid)
