"""Virtual environments with other launchers from PyPI, kept for the next time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path


class Failed(Exception):
    """A way to run a kernel does not do what is asked of it; a sentence says why."""


def environment(launcher: str, *needs: str) -> Path:
    """Return the Python of an environment with a launcher in it, made if it is not there.

    Parameters: launcher, as pip wants it; needs, all that it needs, if not what it says that it
    needs.
    Raises: Failed when it cannot be installed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rkernel-tests"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / f"peers-{launcher.replace('==', '-')}-{version}"
    python = folder / "bin/python"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".building-") as scratch:
            # The scripts in it name the folder it was made in: run them as `python SCRIPT`.
            _run(sys.executable, "-m", "venv", f"{scratch}/new")
            pip = (f"{scratch}/new/bin/python", "-m", "pip", "--disable-pip-version-check")
            options = ("--no-deps",) if needs else ()
            _run(*pip, "install", "--quiet", *options, launcher, *needs)
            Path(scratch, "new").rename(folder)
    return python


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        last = result.stderr.strip().rpartition("\n")[2]
        raise Failed(f"pip cannot install it: {last}")
