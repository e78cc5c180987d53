"""What a test does when this machine lacks something that it needs."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test that calls this; in CI (CI=true), where nothing may be lacking, fail it."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{reason}, and in CI that may not be", pytrace=False)
    pytest.skip(reason)
