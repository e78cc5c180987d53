"""Debian's packages, unpacked into a folder, from the mirror that this machine uses."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def mirror() -> str | None:
    """Find the Debian mirror in apt's sources, in either of their formats."""
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.[ls]*"))]
    text = "\n".join(file.read_text() for file in files if file.is_file())
    lines = re.findall(r"^(?:URIs:|deb(?:\s+\[.*?\])?)\s+(\S+)", text, re.MULTILINE)
    return next((uri for uri in lines if re.search(r"/debian/?$", uri)), None)


def unpack(suite: str, folder: Path, packages: list[str], *options: str) -> None:
    """Unpack packages with all that they need, and run none of their scripts.

    Parameters: options of mmdebstrap.
    Raises: subprocess.CalledProcessError.
    """
    source = f"deb {mirror()} {suite} main"
    command = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(packages)}"]
    quiet = subprocess.DEVNULL
    words = [*command, *options, suite, str(folder), source]
    subprocess.run(words, stdin=quiet, stdout=quiet, check=True)
