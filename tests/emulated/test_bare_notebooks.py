"""The notebooks on a board that has python3 alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.local.kernel.test_notebooks import (  # noqa: F401
    test_a_camera_whose_loop_fails,
    test_the_camera_notebook,
    test_the_display_notebook,
    test_the_usage_notebook,
    test_the_video_notebook,
)
from tests.support.armv7l import Armv7l
from tests.support.bare import PICTURES, SERVICE


@pytest.fixture(scope="module")
def board(machines: Callable[[str], Armv7l]) -> Iterator[Armv7l]:
    bare = machines("bare-64")
    yield bare
    bare.end_agents()


@pytest.fixture
def showing() -> tuple[str, ...]:
    return "--env", f"PYTHONPATH={PICTURES}"


@pytest.fixture
def filming() -> tuple[str, ...]:
    return "--env", f"PYTHONPATH={SERVICE}:{PICTURES}"


@pytest.fixture
def with_papermill() -> bool:
    return False
