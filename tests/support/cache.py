"""What takes long to make, and is kept for the next run: environments, packages, boards' images."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

# Looked up once: tests give their processes other caches.
KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rkernel-tests"


def kept(name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that is made once, by whoever needs it first; other processes wait for that.

    Parameters: name, which says all that the folder depends on; make, called with the path at
    which it is to be made, from where it is moved.
    """
    folder = KEPT / name
    KEPT.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=KEPT, prefix=".making-") as scratch:
                make(Path(scratch, "new"))
                Path(scratch, "new").rename(folder)
    return folder


def share_wheels(cache: Path) -> None:
    """Make a folder the cache of wheels that tests share: what one has fetched, all have."""
    (KEPT / "wheels").mkdir(parents=True, exist_ok=True)
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.symlink_to(KEPT / "wheels")
