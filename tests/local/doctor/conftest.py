"""What these tests share: a board that is reached over ssh, and the doctor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import remote as remotes
from tests.support.remote import Remote


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """Give a board that ssh here knows as pi, and lets in."""
    with remotes.remote() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found
