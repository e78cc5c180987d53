"""Virtual environments with packages from PyPI, made once and kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.cache import kept
from tests.support.pythons import interpreters


def environment(name: str, *packages: str) -> str:
    """Give the Python of an environment with some packages, of the oldest Python a board may have.

    Parameters: packages, for each run of pip, which may be several, separated by spaces.
    """
    version = "3.8" if "3.8" in interpreters() else f"3.{sys.version_info.minor}"

    def make(folder: Path) -> None:
        create(interpreters()[version], folder)
        for words in packages:
            install(folder, words.split())

    return str(kept(f"venv-{name}-{version}", make) / "bin/python")


def bare(version: str) -> str:
    """Give a Python with nothing installed, not even pip."""
    folder = kept(
        f"venv-bare-{version}", lambda path: create(interpreters()[version], path, "--without-pip")
    )
    return str(folder / "bin/python")


def create(python: str, folder: Path, *options: str) -> None:
    """Make a virtual environment. Raises subprocess.CalledProcessError."""
    _run(python, "-m", "venv", *options, str(folder))


def install(folder: Path, packages: Sequence[str], *options: str) -> None:
    """Install packages into a virtual environment. Raises subprocess.CalledProcessError.

    It may have been made elsewhere: the scripts in it would name that place.
    """
    pip = (f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    _run(*pip, *options, *packages)


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, timeout=280, check=True)
