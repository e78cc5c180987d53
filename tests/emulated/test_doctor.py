"""`rkernel doctor` on a board with little memory and a clock that can be set."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rkernel_launcher import errors
from tests.support.armv7l import Armv7l
from tests.support.diagnosis import diagnosis
from tests.support.emulator.machine import SSH_PORT

Machines = Callable[[str], Armv7l]


@pytest.mark.parametrize("kind", ["bookworm", "bare-64"])
def test_all_is_well(machines: Machines, kind: str) -> None:
    board = machines(kind)
    found = diagnosis(board.rkernel("doctor", *where(board)))
    assert found.wrong == {} and found.last == "Kernel"


def test_a_clock_that_begins_in_1970(machines: Machines) -> None:
    board = machines("bookworm")
    now = board.shell("date +%s").strip()
    board.shell("date -s @86400")
    try:
        found = diagnosis(board.rkernel("doctor", *where(board)))
    finally:
        board.shell(f"date -s @{now}")
    found.names("Clock", errors.ClockOff, "behind", "1970-01-02")
    assert set(found.wrong) == {"Clock"} and found.last == "Kernel"


def where(board: Armv7l) -> list[str]:
    port = board.machine.port(SSH_PORT)
    return [
        "--via",
        "ssh",
        "--host",
        f"root@127.0.0.1:{port}",
        "--identity",
        str(board.machine.key),
    ]
