"""The Python interpreters of this machine, and old versions of rpyc for one of them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PLUMBUM = "1.8.3"  # Imports on Python 3.8, and every rpyc below works with it.
_ASK = "import sys; print('%d.%d' % sys.version_info[:2])"


@functools.cache
def interpreters() -> dict[str, str]:
    """Find one interpreter of each version, the running one included: {"3.8": path, …}."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    paths = [sys.executable, *map(str, sorted(root.glob("versions/*/bin/python")))]
    paths += filter(None, (shutil.which(f"python3.{minor}") for minor in range(6, 20)))
    found: dict[str, str] = {}
    for path in paths:
        answer = subprocess.run([path, "-c", _ASK], capture_output=True, text=True, timeout=60)
        if answer.returncode == 0:
            found.setdefault(answer.stdout.strip(), path)
    return found


def newer_than_3_7() -> list[str]:
    """List the versions that a board may have."""
    return [version for version in interpreters() if tuple(map(int, version.split("."))) >= (3, 8)]


def rpyc_folder(version: str) -> tuple[str, Path]:
    """Give an interpreter (3.8 where there is one) and a folder with that version of rpyc."""
    python = interpreters().get("3.8", sys.executable)
    name = subprocess.run(
        [python, "-c", _ASK.replace("%d.%d", "py%d%d")], capture_output=True, text=True, check=True
    ).stdout.strip()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rkernel-tests"
    folder = cache / f"rpyc-{version}-{name}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as part:
            wanted = [f"rpyc=={version}", f"plumbum=={PLUMBUM}"]
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "--target", f"{part}/new", *wanted], check=True, timeout=240)
            Path(f"{part}/new").rename(folder)
    return python, folder
