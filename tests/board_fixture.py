"""The fixture `board`, a plugin of the test modules that run kernels: `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator

import boards
import pytest

BOARDS = [
    "local",
    # pytest.param("bookworm", marks=pytest.mark.board) and trixie: an emulated board for each
]


@pytest.fixture(scope="session", params=BOARDS)
def board(request: pytest.FixtureRequest) -> Iterator[boards.Board]:
    """Give the boards, one after the other."""
    with boards.local() as found:
        yield found
