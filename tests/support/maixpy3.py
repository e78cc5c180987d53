"""maixpy3 on this machine: the Python files of its wheel, with stand-ins for its compiled parts."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

from tests.support.cache import kept

VERSION = "0.5.3"
STAND_IN = Path(__file__).parent / "maix_stand_in"


@cache
def files() -> Path:
    """Return a folder with the Python files of maixpy3, which is kept."""
    return kept(f"maixpy3-{VERSION}", _download)


def _download(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    whose = ["--platform", "linux_armv7l", "--python-version", "3.8"]
    what = ["--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder.parent)]
    subprocess.run([*pip, *what, *whose, f"maixpy3=={VERSION}"], check=True, timeout=240)
    with zipfile.ZipFile(next(folder.parent.glob("*.whl"))) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if name.endswith(".py")])


def options() -> tuple[str, ...]:
    """Return the launcher's options for a kernel that finds maixpy3."""
    return "--env", f"PYTHONPATH={STAND_IN}{os.pathsep}{files()}"
