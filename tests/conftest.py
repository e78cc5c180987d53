"""What many tests need: a PC with nothing on it, and a Python as boards have it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest
from hypothesis import settings

from tests.support import armv7l, boards
from tests.support.bare import bare
from tests.support.environments import environment

# A busy machine is no reason to fail: how long one example may take is not what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A shell without job control has what it starts in the background ignore SIGINT, and nohup has it
# ignore SIGHUP. Every process that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[boards.Board]:
    """Give an empty home on this machine, which is its own board; no process in it stays."""
    with boards.local() as board:
        for name, value in board.environment.items():
            monkeypatch.setenv(name, value)
        yield board


@pytest.fixture(scope="session")
def machines() -> Iterator[Callable[[str], armv7l.Armv7l]]:
    """Give an emulated board, booted once, when it is first asked for.

    It is that of a suite, or a bare one with so much memory, as in "bare-64".
    """
    with ExitStack() as stack:

        def boot(name: str) -> armv7l.Armv7l:
            kind, _, memory = name.partition("-")
            return stack.enter_context(bare(int(memory)) if memory else armv7l.booted(kind))

        yield cache(boot)


@pytest.fixture
def small(machines: Callable[[str], armv7l.Armv7l]) -> Iterator[armv7l.Armv7l]:
    """Give an emulated board with 64 MB that has python3 alone, see bare.py."""
    board = machines("bare-64")
    yield board
    board.end_agents()


@pytest.fixture
def any_board(
    request: pytest.FixtureRequest, machines: Callable[[str], armv7l.Armv7l]
) -> Iterator[boards.Board]:
    """Give the board that the test's parameter names: this machine, or an emulated one's suite."""
    if request.param != "local":
        yield machines(request.param)
        return
    with boards.local() as board:
        yield board


@pytest.fixture(scope="session")
def board_python() -> str:
    """Give the oldest Python that a board may have, with ipykernel."""
    return environment("ipykernel", "ipykernel==6.29.5")
