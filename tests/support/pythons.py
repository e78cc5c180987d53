"""The Python interpreters of this machine, and old versions of rpyc for one of them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cache import kept

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


def interpreter(version: str) -> str:
    """Give the interpreter of a version, or this one for "this"; skip the test where none is."""
    if version == "this":
        return sys.executable
    if version not in interpreters():
        pytest.skip(f"there is no Python {version} here")
    return interpreters()[version]


def rpyc_folder(version: str) -> tuple[str, Path]:
    """Give an interpreter (3.8 where there is one) and a folder with that version of rpyc."""
    name = "3.8" if "3.8" in interpreters() else f"3.{sys.version_info.minor}"
    python = interpreters()[name]

    def make(folder: Path) -> None:
        wanted = [f"rpyc=={version}", f"plumbum=={PLUMBUM}"]
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", str(folder), *wanted], check=True, timeout=240)

    return python, kept(f"rpyc-{version}-py{name.replace('.', '')}", make)
