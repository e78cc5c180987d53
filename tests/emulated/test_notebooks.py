"""The notebooks on boards that have ipykernel."""

from __future__ import annotations

import pytest

from tests.local.kernel.test_notebooks import (  # noqa: F401
    showing,
    test_the_display_notebook,
    test_the_usage_notebook,
    test_the_video_notebook,
)
from tests.support.emulator.image import SUITES

pytestmark = pytest.mark.parametrize("board", SUITES, indirect=True)


@pytest.fixture
def with_papermill() -> bool:
    return False  # which runs on the PC, whatever the board
