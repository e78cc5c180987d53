"""How to install what a board lacks, with a package manager that the board has."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from ..errors import TrimmedPython
from .answers import Facts

_IPYKERNEL = {  # opkg has no such package
    "apt-get": "apt-get install python3-ipykernel",
    "dnf": "dnf install python3-ipykernel",
    "apk": "apk add py3-ipykernel",
    "pacman": "pacman -S python-ipykernel",
}
_PIP = {
    "apt-get": "apt-get install python3-pip",
    "dnf": "dnf install python3-pip",
    "apk": "apk add py3-pip",
    "pacman": "pacman -S python-pip",
    "opkg": "opkg install python3-pip",
}
_PYTHON = {  # with all of its library
    "apt-get": "apt-get install python3",
    "dnf": "dnf install python3",
    "apk": "apk add python3",
    "pacman": "pacman -S python",
    "opkg": "opkg install python3",
}
_SYSTEM_PYTHON = ("/usr/bin/", "/bin/")
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")


def how_to_install(package: str, found: Facts) -> str:
    """Say how to install a package for the board's Python.

    Args:
        package: Its name on PyPI.
        found: The board's facts.
    """
    pip = f"{found.executable} -m pip install {package}"
    own = found.executable.startswith(_SYSTEM_PYTHON)
    if package == "ipykernel" and own and (line := _line(_IPYKERNEL, found.installers)):
        return f"Run there, as root: {line}"
    if found.pip:
        return f"Run there: {pip}"
    if own and (line := _line(_PIP, found.installers)):
        return f"Run there: {line} && {pip}"
    return f"That Python has no pip. Run there: {found.executable} -m ensurepip && {pip}"


def trimmed(detail: str, python: str | None, installers: Sequence[str]) -> TrimmedPython | None:
    """Return the error for a Python that lacks a part of itself; None if it lacks something else.

    Args:
        detail: What Python said, such as the last line of a traceback.
        python: The interpreter, as the user named it.
        installers: The board's package managers, as far as we know them.
    """
    match = _NO_MODULE.search(detail)
    if match is None or match[1].partition(".")[0] not in sys.stdlib_module_names:
        return None
    hint = "Install all of Python there, or name another Python with --python."
    own = python is None or "/" not in python or python.startswith(_SYSTEM_PYTHON)
    if own and (line := _line(_PYTHON, installers)):
        hint = f"Run there, as root: {line}"
    return TrimmedPython(module=match[1], hint=hint)


def _line(lines: dict[str, str], installers: Sequence[str]) -> str | None:
    return next((lines[name] for name in installers if name in lines), None)
