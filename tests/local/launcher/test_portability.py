"""The PC's end where POSIX is not, as on Windows."""

from __future__ import annotations

import subprocess
import sys

import pytest

POSIX = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty")


@pytest.mark.parametrize(
    "module",
    [
        "rkernel_launcher.launcher.launcher",
        "rkernel_launcher.cli.main",
        "rkernel_launcher.__main__",
        "rkernel_launcher.transports.paramiko.client",
    ],
)
def test_the_pcs_modules_need_no_posix_ones(module: str) -> None:
    """A fresh interpreter in which those cannot be imported stands in for Windows."""
    source = f"import sys; sys.modules.update(dict.fromkeys({POSIX})); import {module}"
    run = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
