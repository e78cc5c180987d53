"""What many tests need: a PC with nothing on it, and a Python as boards have it."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.support import boards
from tests.support.environments import environment

# A busy machine is no reason to fail: how long one example may take is not what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A shell without job control has what it starts in the background ignore SIGINT, and every process
# that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Have the garbage collector, which some tests call, pass over all tests and their modules."""
    gc.freeze()


class ByFile(LoadScopeScheduling):
    """Gives each process a file of tests at a time, and one of them all of tests/emulated.

    So each kind of board is booted once, and while the tests of one process wait for a board, those
    of the other have the machine.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "emulated" if "emulated/" in file else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Say how the tests are shared by several processes."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def board() -> Iterator[boards.Board]:
    """Give this machine as a board, with one home for the whole run."""
    with boards.local() as found:
        yield found


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[boards.Board]:
    """Give an empty home on this machine, which is its own board; no process in it stays."""
    with boards.local() as board:
        for name, value in board.environment.items():
            monkeypatch.setenv(name, value)
        yield board


@pytest.fixture(scope="session")
def board_python() -> str:
    """Give the oldest Python that a board may have, with ipykernel."""
    return environment("ipykernel", "ipykernel==6.29.5")
