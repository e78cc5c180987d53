"""JupyterLab in a browser again, with a kernel on an emulated board."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.test_jupyterlab import (  # noqa: F401
    lab,
    test_a_notebook_on_the_board,
    test_pictures_are_live_and_the_last_one_stays,
)
from tests.support.armv7l import Armv7l

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def board(machines: Callable[[str], Armv7l]) -> Armv7l:
    return machines("bookworm")
