"""Virtual environments of old Pythons, made once and kept."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.pythons import interpreters

KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rkernel-tests"


def environment(name: str, *packages: str) -> str:
    """Give the Python of a virtual environment, which is kept, with some packages."""
    version = "3.8" if "3.8" in interpreters() else f"3.{sys.version_info.minor}"
    folder = KEPT / f"venv-{name}-{version}"
    if not folder.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as part:
            new = f"{part}/new"
            _run(interpreters()[version], "-m", "venv", new)
            pip = [f"{new}/bin/python", "-m", "pip", "--disable-pip-version-check", "install"]
            for package in packages:
                _run(*pip, "--quiet", *package.split())
            Path(new).rename(folder)
    return str(folder / "bin" / "python")


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, f"{' '.join(command)}: {result.stderr}"
