"""What this board and this Python are: run as `python -m board_agent.bootstrap.facts`."""

import importlib
import platform
import re
import sys
from typing import Any, Dict, List, Optional, Tuple

from ..common import home, reply
from ..common.memory import memory_of_board
from ..display import jpeg

try:
    from importlib import metadata
except ImportError:  # this Python has no email, say
    metadata = None  # type: ignore[assignment]

PACKAGES = ("ipykernel", "pyzmq", "tornado", "jupyter_client", "IPython", "debugpy", "maixpy3")
MODULES = ("ipykernel", "zmq", "tornado", "jupyter_client", "IPython", "traitlets")


def collect() -> Dict[str, Any]:
    """Return the facts; amounts of memory are in bytes."""
    memory = memory_of_board()
    return {
        "model": _model(),
        "machine": platform.machine(),
        "system": platform.system(),
        "os": _os_name(),
        "hostname": platform.node(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": {name: _version(name) for name in PACKAGES},
        "missing": [name for name in MODULES if not _works(name)],
        "requires": _requires("ipykernel"),
        "encoder": jpeg.name(),
        "memory_total": memory.get("MemTotal"),
        "memory_available": memory.get("MemAvailable"),
        "installers": home.installers(),
        "pip": _has_module("pip"),
    }


def _model() -> str:
    """Return the board's name as its device tree or its processor gives it."""
    try:
        with open("/proc/device-tree/model", errors="replace") as file:
            return file.read().strip("\0\n ")
    except OSError:
        pass
    try:
        with open("/proc/cpuinfo", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return ""
    names = {key.strip(): value.strip() for key, value in fields.items()}
    return names.get("Hardware") or names.get("model name") or names.get("Model") or ""


def _os_name() -> str:
    try:
        with open("/etc/os-release", errors="replace") as file:
            fields = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    except OSError:
        return ""
    return fields.get("PRETTY_NAME", "").strip("\"'")


def _version(package: str) -> Optional[str]:
    try:
        return metadata.version(package) if metadata else None
    except metadata.PackageNotFoundError:
        return None


def _requires(package: str) -> List[Tuple[str, str]]:
    """Return what a package always asks for and finds here: the requirement, and the version.

    Not what it finds without metadata: whether that will do, only a trial tells.
    """
    if metadata is None:
        return []
    try:
        wanted = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in wanted:
        match = re.match(r"[\w.-]+", line)
        version = _version(match[0]) if match and ";" not in line else None
        if version:
            found.append((line, version))
    return found


def _works(name: str) -> bool:
    if name != "zmq":
        return _has_module(name)
    try:  # what is compiled can be there and of no use
        importlib.import_module(name)
    except Exception:
        return False
    return True


def _has_module(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


if __name__ == "__main__":
    reply.say(collect())
