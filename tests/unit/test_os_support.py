"""What Windows does otherwise, played as far as Linux can: its constants are put in."""

import signal
import socket
import threading

import pytest

from rkernel_launcher import errors, os_support
from rkernel_launcher.board import reach
from rkernel_launcher.target import Target

LIMIT = 10  # seconds for what takes milliseconds


def test_windows_asks_for_exclusive_use(monkeypatch):
    monkeypatch.setattr(os_support, "WINDOWS", True)
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    with socket.socket() as sock:
        os_support.listen_options(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_windows_ends_on_break_only(monkeypatch):
    monkeypatch.setattr(os_support, "WINDOWS", True)
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    assert os_support.end_signals() == [signal.SIGUSR1]


def test_windows_waits_for_the_handle_of_its_parent(monkeypatch):
    waited = []
    gone = threading.Event()
    monkeypatch.setattr(os_support, "WINDOWS", True)
    monkeypatch.setenv("JPY_PARENT_PID", "1234")
    monkeypatch.setattr(
        os_support, "_wait_for_handle", lambda handle, on_gone: (waited.append(handle), on_gone())
    )
    os_support.watch_parent(gone.set)
    assert gone.wait(LIMIT), "the parent's end was not noticed"
    assert waited == [1234]


def test_windows_cannot_play_a_board(monkeypatch):
    monkeypatch.setattr(os_support, "WINDOWS", True)
    with pytest.raises(errors.NotSupportedHere):
        reach.reach(Target(via="local"))


def test_a_system_without_unix_sockets_says_so(monkeypatch, tmp_path):
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(OSError, match="no Unix sockets"):
        os_support.unix_socket(str(tmp_path / "socket"))
