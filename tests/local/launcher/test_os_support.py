"""What differs by platform: ports, Unix sockets, and the parent whose end is noticed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rkernel_launcher import os_support

LIMIT = 10  # seconds for what takes milliseconds


def test_a_port_is_free_again_at_once_and_ours_alone():
    with socket.socket() as first:
        os_support.listen_options(first)
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            first.accept()[0].close()  # leaves a connection in TIME_WAIT
            with socket.socket() as second:
                os_support.listen_options(second)
                with pytest.raises(OSError):
                    second.bind(("127.0.0.1", port))
    with socket.socket() as third:
        os_support.listen_options(third)
        third.bind(("127.0.0.1", port))


def test_a_deserted_unix_socket_is_replaced(tmp_path):
    path = tmp_path / "socket"
    os_support.unix_socket(str(path)).close()
    assert path.is_socket()
    os_support.unix_socket(str(path)).close()


def test_a_served_unix_socket_and_a_file_are_not(tmp_path):
    path = tmp_path / "socket"
    with os_support.unix_socket(str(path)) as served:
        served.listen()
        with pytest.raises(OSError):
            os_support.unix_socket(str(path))
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(OSError):
        os_support.unix_socket(str(file))
    assert file.read_text() == "mine"


WATCHER = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from rkernel_launcher import os_support
gone = threading.Event()
os_support.watch_parent(gone.set)
print("watching", flush=True)
print("gone" if gone.wait(float(sys.argv[2])) else "still there", flush=True)
"""


def watcher(stdin, seconds=LIMIT, **environment):
    root = str(Path(os_support.__file__).parents[1])
    inherited = {k: v for k, v in os.environ.items() if k != "JPY_PARENT_PID"}
    return subprocess.Popen(
        [sys.executable, "-c", WATCHER, root, str(seconds)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
        env={**inherited, **environment},
    )


def test_a_stdin_that_ends_means_that_the_parent_is_gone():
    ours, theirs = socket.socketpair()
    with ours, watcher(theirs.fileno()) as process:
        theirs.close()
        assert process.stdout.readline() == "watching\n"
        ours.close()
        assert process.stdout.readline() == "gone\n"


@pytest.mark.parametrize("kind", ["null", "ended pipe"])
def test_a_stdin_at_its_end_from_the_start_means_nothing(kind):
    reading, writing = os.pipe()
    os.close(writing)
    stdin = subprocess.DEVNULL if kind == "null" else reading
    with watcher(stdin, seconds=1) as process:
        assert process.stdout.read() == "watching\nstill there\n"
    os.close(reading)


def test_jupyters_process_is_watched():
    parent = f"import os, subprocess, sys; {PARENT}"
    root = str(Path(os_support.__file__).parents[1])
    process = subprocess.run(
        [sys.executable, "-c", parent, WATCHER, root, str(LIMIT)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT * 3,
    )
    assert process.stdout.splitlines() == ["watching", "gone"]


# Starts the watcher as Jupyter does, and is gone once it watches.
PARENT = """
child = subprocess.Popen(
    [sys.executable, "-c", *sys.argv[1:]],
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    text=True,
    env={**os.environ, "JPY_PARENT_PID": str(os.getpid())},
)
line = child.stdout.readline()
sys.stdout.write(line); sys.stdout.flush()
reader = os.fork()
if reader:
    os._exit(0)
sys.stdout.write(child.stdout.readline())
"""
