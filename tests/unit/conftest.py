"""What a unit test may do: nothing that starts a process or reaches a socket by its address."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

REFUSED = {
    "os.exec": "start a program",
    "os.fork": "fork",
    "os.forkpty": "fork",
    "os.posix_spawn": "start a program",
    "os.system": "start a program",
    "socket.bind": "bind a socket to an address",
    "socket.connect": "connect a socket to an address",
    "subprocess.Popen": "start a program",
}
_in_a_unit_test = False


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if _in_a_unit_test and event in REFUSED:
        pytest.fail(
            f"a unit test may not {REFUSED[event]} ({event}{arguments}); use a socketpair, or move"
            " the test to tests/local"
        )


sys.addaudithook(_refuse)  # for good: Python has no way to take one away


@pytest.fixture(autouse=True)
def needs_nothing() -> Iterator[None]:
    """Refuse, while a test of this folder runs, what belongs into another one."""
    global _in_a_unit_test
    _in_a_unit_test = True
    yield
    _in_a_unit_test = False
