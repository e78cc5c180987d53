"""Jupyter's own suite for kernels, on the newest packages that boards have, and on those sent."""

from __future__ import annotations

import pytest

from tests.conformance.test_kernel_suite import (  # noqa: F401
    plain,
    test_nothing_fails_that_passes_on_a_plain_local_kernel,
)

pytestmark = pytest.mark.parametrize("board", ["trixie", "bare-64"], indirect=True)
