"""maixpy3 on this machine: the Python files of its wheel, with stand-ins for its compiled parts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

from tests.support.environments import KEPT

VERSION = "0.5.3"
STAND_IN = Path(__file__).parent / "maix_stand_in"


@cache
def files() -> Path:
    """Return a folder with the Python files of maixpy3, which is kept."""
    folder = KEPT / f"maixpy3-{VERSION}"
    if not folder.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as part:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
            whose = ["--platform", "linux_armv7l", "--python-version", "3.8"]
            what = ["--quiet", "--no-deps", "--only-binary=:all:", "--dest", part]
            subprocess.run([*pip, *what, *whose, f"maixpy3=={VERSION}"], check=True, timeout=240)
            with zipfile.ZipFile(next(Path(part).glob("*.whl"))) as wheel:
                names = [name for name in wheel.namelist() if name.endswith(".py")]
                wheel.extractall(f"{part}/new", names)
            Path(f"{part}/new").rename(folder)
    return folder


def options() -> tuple[str, ...]:
    """Return the launcher's options for a kernel that finds maixpy3."""
    return "--env", f"PYTHONPATH={STAND_IN}{os.pathsep}{files()}"
