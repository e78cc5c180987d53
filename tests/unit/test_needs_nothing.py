"""A unit test that needs more than this process is refused, whatever it calls to get it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

STEPS: dict[str, Callable[[socket.socket], object]] = {
    "subprocess": lambda sock: subprocess.run([sys.executable, "-c", ""]),
    "fork": lambda sock: os.fork(),
    "system": lambda sock: os.system("true"),
    "bind": lambda sock: sock.bind(("127.0.0.1", 0)),
    "connect": lambda sock: sock.connect(("127.0.0.1", 9)),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_it_fails_with_a_sentence(step: Callable[[socket.socket], object]) -> None:
    refused = pytest.raises(pytest.fail.Exception, match="a unit test may not ")
    with socket.socket() as sock, refused:
        step(sock)


def test_a_socketpair_is_allowed() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.send(b"x")
        assert other.recv(1) == b"x"
