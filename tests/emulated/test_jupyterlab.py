"""JupyterLab in a browser again, with a kernel on an emulated board."""

from __future__ import annotations

import pytest

from tests.browser.test_jupyterlab import (  # noqa: F401
    lab,
    test_a_notebook_on_the_board,
    test_pictures_are_live_and_the_last_one_stays,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("board", ["bookworm"], indirect=True),
]
