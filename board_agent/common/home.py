"""The folders that rkernel has on a board."""

from __future__ import annotations

import errno
import os
import stat
import sys

TYPE_CHECKING = False  # typing would take memory of the service that we may be in
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

TRIES = 1000  # at a folder that others may be making and removing


class NoHome(OSError):
    """No folder is ours alone."""


def cache() -> str:
    """Return the folder that holds our code on the board, see `bootstrap.loader`."""
    if os.path.basename(code()).startswith("code-"):
        return os.path.dirname(code())
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "rkernel")


def code() -> str:
    """Return the folder that our code is imported from."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.dirname(package)


def interpreter(python: Optional[str]) -> str:
    """Return the Python to run a part of ours: the given one, or else this one."""
    return os.path.expanduser(python or "") or sys.executable or "python3"


def installers() -> List[str]:
    """Return the package managers that this board has, such as apk."""
    paths = os.environ.get("PATH", "").split(":")
    paths += ["/bin", "/sbin", "/usr/bin", "/usr/sbin"]  # where a login may not look
    return [
        name
        for name in ("apt-get", "opkg", "apk", "dnf", "pacman")
        if any(os.access(os.path.join(path, name), os.X_OK) for path in paths)
    ]


def bundle_folder(name: str) -> str:
    """Return where a bundle that was sent is, or would be.

    Raises:
        ValueError: It is no bundle's name.
    """
    if not name.startswith("bundle-") or name != os.path.basename(name):
        raise ValueError("%r is no bundle" % name)
    return os.path.join(cache(), name)


def failure(error: OSError, place: str) -> Dict[str, Any]:
    """Return what the launcher gets when something of ours cannot be written."""
    name = errno.errorcode.get(error.errno or 0, "")
    return {"error": name, "path": place, "detail": str(error)}


def runtime_folder() -> str:
    """Return the folder for sockets and state, made if need be: ours, and closed to others.

    Its path is short, since that of a Unix socket may have 107 characters.

    Raises:
        NoHome: None of `candidates` will do.
        OSError: A disk is full.
    """
    tried = candidates()
    for path in tried:
        if len(path) < 60 and is_private(path):
            return path
    for path in tried:
        try:
            _make(path)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise error
    raise NoHome("none of %s can be used" % ", ".join(tried))


def remove() -> None:
    """Remove all that is ours here, while no agent runs.

    Raises:
        OSError: Something cannot be removed.
    """
    import shutil

    uid = os.getuid()
    shared = ["/var/tmp/rkernel-cache-%d" % uid, "/tmp/rkernel-cache-%d" % uid]
    for path in [*candidates(), cache(), *shared]:
        try:
            if os.path.isdir(path) and os.lstat(path).st_uid == os.getuid():
                shutil.rmtree(os.path.realpath(path))
        except FileNotFoundError:
            remove_tree(os.path.realpath(path))  # an agent that ends is taking it away, too


def remove_tree(folder: str) -> None:
    """Remove a folder with all that is in it, as far as possible."""
    import shutil  # not before: it takes 150 kB of an agent

    shutil.rmtree(folder, ignore_errors=True)


def candidates() -> List[str]:
    """Return the folders that `runtime_folder` may be, best first.

    The one that a login gets is not among them: it may go with the login, and kernels stay.
    """
    paths = ["/tmp/rkernel-%d" % os.getuid(), os.path.join(cache(), "run")]
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    if folder and not folder.startswith("/run/user/"):
        paths.insert(0, os.path.join(folder, "rkernel"))
    return paths


def is_private(path: str) -> bool:
    """Make a folder unless it exists; return whether it is ours, and closed to others."""
    try:
        found = _make(path)
    except OSError:
        return False
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
    return private and found.st_uid == os.getuid()


def _make(path: str) -> os.stat_result:
    """Make a folder unless it exists, even while agents that end take it away.

    Returns:
        What is there; a link that somebody else made is not followed.

    Raises:
        OSError: It cannot be made.
    """
    for _ in range(TRIES):
        try:
            os.makedirs(path, 0o700, exist_ok=True)
            return os.lstat(path)
        except (FileExistsError, FileNotFoundError) as error:
            failure = error  # it came or went between two steps, or it is no folder
    raise failure
