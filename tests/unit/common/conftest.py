"""What these tests share: short folders of their own, and a lock in them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from board_agent.common.agent_lock import AgentLock


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have a folder to ourselves, among those that ask for it in this way."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a short folder, in which XDG_RUNTIME_DIR and the cache are."""
    fallback = Path(f"/tmp/rkernel-{os.getuid()}")
    with locked(Path("/tmp")), tempfile.TemporaryDirectory(prefix="rk-", dir="/tmp") as name:
        was_there = fallback.exists()
        (Path(name) / "run").mkdir(mode=0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{name}/run")
        monkeypatch.setenv("XDG_CACHE_HOME", f"{name}/cache")
        yield Path(name)
        if not was_there:
            with contextlib.suppress(OSError):  # none was made, or an agent is in it now
                fallback.rmdir()


@pytest.fixture
def lock(folder: Path) -> Iterator[AgentLock]:
    made = AgentLock("c0de", "127.0.0.1:0")
    assert made.acquire()
    yield made
    made.release()
