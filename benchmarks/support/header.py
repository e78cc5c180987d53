"""The line over a table."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib import metadata

from .boards import Compared


def header(board: Compared, suite: str, memory: int, load: float) -> str:
    """Say what is measured, when and where; load is that of others, before we add ours."""
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr
    ipykernel = board.machine.run("python3 -c 'import ipykernel; print(ipykernel.__version__)'")
    versions = [f"{name} {metadata.version(name)}" for name in ("rkernel", "paramiko")]
    parts = [
        time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        *versions,
        f"Python {platform.python_version()}",
        ssh.partition(",")[0].strip(),
        f"board: {suite}, {memory} MB, ipykernel {ipykernel.strip()}",
        f"PC: {os.cpu_count()} CPUs, load before {load:.1f}",
    ]
    return "; ".join(parts) + "\n"
