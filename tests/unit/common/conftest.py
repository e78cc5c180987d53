"""What these tests share: short folders of their own, and a lock in them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from board_agent.common.agent_lock import AgentLock


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a short folder, in which XDG_RUNTIME_DIR and the cache are."""
    fallback = Path(f"/tmp/rkernel-{os.getuid()}")
    was_there = fallback.exists()
    with tempfile.TemporaryDirectory(prefix="rk-", dir="/tmp") as name:
        (Path(name) / "run").mkdir(mode=0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{name}/run")
        monkeypatch.setenv("XDG_CACHE_HOME", f"{name}/cache")
        yield Path(name)
    if not was_there:
        with contextlib.suppress(OSError):  # another run of the tests may have one too
            fallback.rmdir()


@pytest.fixture
def lock(folder: Path) -> Iterator[AgentLock]:
    made = AgentLock("c0de", "127.0.0.1:0")
    assert made.acquire()
    yield made
    made.release()
