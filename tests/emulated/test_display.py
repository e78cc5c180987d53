"""Pictures and films, with the encoder that each suite of Debian has."""

from __future__ import annotations

import pytest

from tests.local.kernel.test_display import kernel, test_a_film, test_an_array  # noqa: F401
from tests.support.emulator.image import SUITES

pytestmark = pytest.mark.parametrize("board", SUITES, indirect=True)
