"""Receive a bundle from the launcher: in pieces, whole or not at all.

The bootstrap session calls these functions. A file keeps what has come until all of it has, so that
a cut upload goes on where it was. Then a child process unpacks it with the kernel's Python, for
which the code is compiled.
"""

from __future__ import annotations

import os
import subprocess
import sys

from ..common import home, reply

TYPE_CHECKING = False  # typing would take memory of the service that we may be in
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

MARGIN = 1 << 20  # bytes that are to stay free
_ASK = 'import sys; print(\'\\n%s{"python": "%%d.%%d"}\' %% sys.version_info[:2])' % reply.MARK

_child: Optional[subprocess.Popen[bytes]] = None
_said = b""


def python_version(python: Optional[str]) -> str:
    """Return the version of an interpreter, such as 3.8.

    Args:
        python: Its path, or None for this one.

    Raises:
        OSError: It cannot be started.
        CalledProcessError: It failed.
    """
    if python is None:
        return "%d.%d" % sys.version_info[:2]
    said = reply.last(subprocess.check_output([home.interpreter(python), "-c", _ASK]))
    if said is None:
        raise OSError("%s does not say which version it is" % python)
    return str(said["python"])


def state(name: str) -> Dict[str, Any]:
    """Return whether a bundle is installed, and if not, what has come of it.

    Returns:
        Whether it is `installed`; if not, the bytes that have come (`have`) and that are `free`. Or
        an `error`, as `home.failure` gives it.
    """
    place = home.bundle_folder(name)
    if os.path.isdir(place):
        return {"installed": True}
    try:
        os.makedirs(home.cache(), 0o700, exist_ok=True)
        found = os.statvfs(home.cache())
    except OSError as error:
        return home.failure(error, place)
    free = found.f_bavail * found.f_frsize
    return {"installed": False, "have": _size(_part(place)), "free": free - MARGIN}


def add(data: bytes, name: str, offset: int) -> Dict[str, Any]:
    """Write a piece of the archive.

    Args:
        data: The piece.
        name: The bundle's name.
        offset: Bytes of the archive before the piece; it is not written if some of them are
            missing.

    Returns:
        The bytes that have come (`have`), or an `error`, as `home.failure` gives it.
    """
    place = home.bundle_folder(name)
    part = _part(place)
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            if offset <= _size(part):  # else there would be a hole
                file.seek(offset)
                file.write(data)
    except OSError as error:
        drop(name)
        return home.failure(error, place)
    return {"have": _size(part)}


def drop(name: str) -> Dict[str, Any]:
    """Forget what has come of a bundle."""
    try:
        os.unlink(_part(home.bundle_folder(name)))
    except FileNotFoundError:
        pass
    return {}


def unpack(name: str, digest: str, python: Optional[str]) -> Dict[str, Any]:
    """Have a child process check, unpack and compile the archive.

    Args:
        name: The bundle's name.
        digest: The archive's SHA-256, in hex.
        python: The interpreter to compile for, or None for this one.

    Returns:
        Nothing, or an `error`, as `home.failure` gives it.
    """
    global _child, _said
    place = home.bundle_folder(name)
    command = [home.interpreter(python), "-m", "board_agent.bootstrap.unpack"]
    command += [_part(place), place, digest]
    try:
        _child = subprocess.Popen(
            command,
            cwd=home.code(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it goes on when we are cut off
        )
    except OSError as error:
        return home.failure(error, place)
    assert _child.stdout is not None
    os.set_blocking(_child.stdout.fileno(), False)
    _said = b""
    return {}


def progress() -> Dict[str, Any]:
    """Return how far the child process is.

    Returns:
        How many files are `done`, of `all`. At the end that it is `over`, with an `error`, `path`
        and `detail` if it failed.
    """
    global _said
    assert _child is not None and _child.stdout is not None
    status = _child.poll()
    _said = (_said + (_child.stdout.read() or b""))[-4096:]
    last = reply.last(_said) or {}
    if status is None:
        return {"done": last.get("done", 0), "all": last.get("all", 0)}
    _child.stdout.close()
    if "error" in last or status == 0:
        return dict(last, over=True)
    detail = _said.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return {"over": True, "error": "", "path": "", "detail": detail or "status %d" % status}


def _part(place: str) -> str:
    return place + ".part"


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0
