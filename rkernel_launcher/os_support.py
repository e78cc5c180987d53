"""What differs between Linux, macOS and Windows, all in one place."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

WINDOWS = sys.platform == "win32"
PARENT_POLL = 1.0  # seconds between checks that the frontend is still there


def listen_options(sock: socket.socket) -> None:
    """Prepare a socket for `bind`: no other program can share its port while we have it.

    The port is free again as soon as we are gone.
    """
    if WINDOWS:  # there, SO_REUSEADDR would let a second program take the port
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def unix_socket(path: str) -> socket.socket:
    """Return a Unix socket bound to `path`, in place of one that nobody serves any more.

    Raises:
        OSError: The path is taken or cannot be used, or the system has no Unix sockets.
    """
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise OSError("this system's Python has no Unix sockets")
    sock = socket.socket(family)
    try:
        if _is_abandoned_socket(path, family):
            Path(path).unlink()
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    return sock


def _is_abandoned_socket(path: str, family: int) -> bool:
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return False
        with socket.socket(family) as probe:
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False


def end_signals() -> list[signal.Signals]:
    """Return the signals that ask this process to end."""
    if WINDOWS:
        return [signal.SIGBREAK]  # type: ignore[attr-defined,unused-ignore]
    return [signal.SIGTERM, signal.SIGHUP]


def watch_parent(on_gone: Callable[[], None]) -> None:
    """Watch for the end of the frontend that started us.

    Jupyter names itself in JPY_PARENT_PID (a process id, or a handle on Windows). VS Code does not.
    It holds our stdin open, and the end of that stdin is the only sign. A stdin that is at its end
    from the start is no sign.

    Args:
        on_gone: Called from a thread once the frontend is gone.
    """
    handle = os.environ.get("JPY_PARENT_PID", "")
    if handle.isdigit() and int(handle) > 1:
        wait = _wait_for_handle if WINDOWS else _wait_for_parent
        threading.Thread(target=wait, args=(int(handle), on_gone), daemon=True).start()
    elif _stdin_is_held_open():
        threading.Thread(target=_wait_for_stdin, args=(on_gone,), daemon=True).start()


def _wait_for_parent(pid: int, on_gone: Callable[[], None]) -> None:
    pause = threading.Event()
    while os.getppid() == pid:
        pause.wait(PARENT_POLL)
    on_gone()


def _wait_for_handle(handle: int, on_gone: Callable[[], None]) -> None:
    import ctypes

    ctypes.windll.kernel32.WaitForSingleObject(handle, -1)  # type: ignore[attr-defined,unused-ignore]
    on_gone()


def _stdin_is_held_open() -> bool:
    """Say whether stdin is a pipe or socket whose other end a process holds open."""
    try:
        mode = os.fstat(0).st_mode
        if not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):
            return False
        if WINDOWS:  # Jupyter gives a closed stdin, but there we know it by its handle
            return True
        readable, _, _ = select.select([0], [], [], 0)
        return not readable or bool(os.read(0, 4096))
    except OSError:
        return False


def _wait_for_stdin(on_gone: Callable[[], None]) -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    on_gone()
