"""Every test here needs the emulated armv7l board, which is booted once, by whoever asks first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.support.armv7l import Armv7l, booted
from tests.support.bare import bare
from tests.support.emulator.image import available
from tests.support.requirements import skip_or_fail


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder: the hook is called with all that were collected."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.board)


@pytest.fixture(scope="session", autouse=True)
def emulator() -> None:
    """Skip all of it where no board can be emulated; in CI, fail."""
    if reason := available():
        skip_or_fail(reason)


@pytest.fixture(scope="session")
def machines() -> Iterator[Callable[[str], Armv7l]]:
    """Give an emulated board by its name: a suite, or a bare one with so much memory, "bare-64"."""
    with ExitStack() as stack:

        def boot(name: str) -> Armv7l:
            kind, _, memory = name.partition("-")
            return stack.enter_context(bare(int(memory)) if memory else booted(kind))

        yield cache(boot)


@pytest.fixture(scope="module")
def board(request: pytest.FixtureRequest, machines: Callable[[str], Armv7l]) -> Armv7l:
    """Give the emulated board that a parameter of the module or the test names."""
    return machines(request.param)


@pytest.fixture
def small(machines: Callable[[str], Armv7l]) -> Iterator[Armv7l]:
    """Give an emulated board with 64 MB that has python3 alone, see bare.py."""
    board = machines("bare-64")
    yield board
    board.end_agents()
