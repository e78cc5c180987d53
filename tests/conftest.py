"""What many tests need: a PC with nothing on it, and a Python as boards have it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support import boards
from tests.support.environments import environment

# A busy machine is no reason to fail: how long one example may take is not what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A shell without job control has what it starts in the background ignore SIGINT, and every process
# that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


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
