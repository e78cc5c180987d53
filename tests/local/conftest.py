"""What the tests on this machine share: one home for all of a module's kernels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import boards


@pytest.fixture(scope="session")
def board() -> Iterator[boards.Board]:
    """Give this machine as a board, with one home for the whole run."""
    with boards.local() as found:
        yield found
