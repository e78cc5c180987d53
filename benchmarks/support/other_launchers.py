"""Virtual environments with other launchers from PyPI, kept for the next time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.cache import kept
from tests.support.environments import create, install


class Failed(Exception):
    """A way to run a kernel does not do what is asked of it; a sentence says why."""


def environment(launcher: str, *needs: str) -> Path:
    """Return the Python of an environment with a launcher in it, made if it is not there.

    Parameters: launcher, as pip wants it; needs, all that it needs, if not what it says that it
    needs.
    Raises: Failed when it cannot be installed.
    """

    def make(folder: Path) -> None:
        create(sys.executable, folder)
        install(folder, [launcher, *needs], *(("--no-deps",) if needs else ()))

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        folder = kept(f"launcher-{launcher.replace('==', '-')}-{version}", make)
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().rpartition("\n")[2]
        raise Failed(f"pip cannot install it: {last}") from error
    return folder / "bin/python"
