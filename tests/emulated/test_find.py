"""`rkernel find` sees an emulated board, and `rkernel add` needs no address of it.

The board's SSH server is a forwarded port of 127.0.0.1. Nobody publishes that, so a network of its
own plays the board's: avahi-daemon publishes it there, and its port 22 leads to the forwarded one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from tests.support import adbd, avahi, namespaces
from tests.support.armv7l import Armv7l
from tests.support.emulator.machine import SSH_PORT
from tests.support.lan import BOARD, lan


def test_a_board_is_found_and_added(
    machines: Callable[[str], Armv7l], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = machines("bookworm")
    for name, value in board.environment.items():
        monkeypatch.setenv(name, value)
    here = ("nsenter", f"--net=/proc/{os.getpid()}/ns/net")
    relay = (*here, sys.executable, "-c", adbd.RELAY, str(board.machine.port(SSH_PORT)))
    service = ("_ssh._tcp", 22, "")
    with (
        lan() as net,
        namespaces.listening(net.board, 22, *relay),
        avahi.published(net.board, board.folder / "avahi", "cortex", service),
    ):
        (found,) = net.found()
        assert (found["address"], found["name"]) == (BOARD, "cortex.local")
        assert (found["system"], found["ways"]) == ("Debian", {"ssh": 22})
        key = ("--identity", str(board.machine.key), "--host-key", "accept-new")
        run = net.at_terminal(["y", "root"], "add", *key, "--no-check", "--name", "found")
        assert run.returncode == 0, run.stderr
        assert "Architecture: armv7l" in run.stdout
        (again,) = net.found()
        assert "found" in again["added_as"]
        assert "yes" in net.rkernel("list").stdout
