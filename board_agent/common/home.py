"""The folders that rkernel has on a board, and what a running agent leaves there for launchers."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys

TYPE_CHECKING = False  # typing would take memory of the service that we may be in
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

TRIES = 1000  # at a folder that others may be making and removing


class NoHome(Exception):
    """There is no folder that is ours alone."""


def cache() -> str:
    """Return the folder that holds our code on the board; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "rkernel")


def code() -> str:
    """Return the folder that our code is imported from."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.dirname(package)


def interpreter(python: Optional[str]) -> str:
    """Return the Python that runs a part of ours, where a certain one may be wished for."""
    return os.path.expanduser(python or "") or sys.executable or "python3"


def runtime_folder(name: str) -> str:
    """Return where a runtime that was sent is, or would be. Raises ValueError."""
    if not name.startswith("runtime-") or name != os.path.basename(name):
        raise ValueError("%r is no runtime" % name)
    return os.path.join(cache(), name)


def failure(error: OSError, place: str) -> Dict[str, Any]:
    """Return what the launcher is told when something of ours cannot be written."""
    name = errno.errorcode.get(error.errno or 0, "")
    return {"error": name, "path": place, "detail": str(error)}


def runtime() -> str:
    """Return the folder for sockets and state, made if need be: ours, and closed to others.

    Short, since the path of a Unix socket may have 107 characters. Raises NoHome.
    """
    candidates = _candidates()
    for path in candidates:
        if len(path) < 60 and _own(path):
            return path
    raise NoHome("none of %s can be used" % ", ".join(candidates))


def agents() -> List[Dict[str, Any]]:
    """Return what each agent of ours that runs here wrote, whatever its version and address.

    What those have left that were killed is removed.
    """
    found = []
    for path in _candidates():
        if not os.path.isdir(path) or not _own(path):
            continue
        for name in _names(path):
            if not os.path.isdir(os.path.join(path, name)):
                continue
            seat = Seat.at(os.path.join(path, name))
            state = seat.read_state()
            if state is not None:
                found.append(state)
            elif seat.take():
                seat.clear()
    return found


def _names(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []  # an agent that ends has just taken it away


def remove() -> None:
    """Remove all that is ours here, while no agent runs. Raises OSError."""
    import shutil

    for path in [*_candidates(), cache()]:
        try:
            if os.path.isdir(path) and os.lstat(path).st_uid == os.getuid():
                shutil.rmtree(os.path.realpath(path))
        except FileNotFoundError:
            remove_tree(os.path.realpath(path))  # an agent that ends is taking it away, too


def remove_tree(folder: str) -> None:
    """Remove a folder with all that is in it, as far as can be."""
    import shutil  # not before: it takes 150 kB of an agent

    shutil.rmtree(folder, ignore_errors=True)


def _candidates() -> List[str]:
    """Return the folders that `runtime` may be, best first.

    Not the one that a login gets: it may go with the login, and kernels are to stay.
    """
    paths = ["/tmp/rkernel-%d" % os.getuid(), os.path.join(cache(), "run")]
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    if folder and not folder.startswith("/run/user/"):
        paths.insert(0, os.path.join(folder, "rkernel"))
    return paths


def _own(path: str) -> bool:
    try:
        found = _make(path)
    except OSError:
        return False
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
    return private and found.st_uid == os.getuid()


def _make(path: str) -> os.stat_result:
    """Make a folder unless it is there, even while agents that end take it away.

    Returns what is there; a link that somebody else laid is not followed. Raises OSError.
    """
    for _ in range(TRIES):
        try:
            os.makedirs(path, 0o700, exist_ok=True)
            return os.lstat(path)
        except (FileExistsError, FileNotFoundError) as error:
            failure = error  # it came or went between two steps, or it is no folder
    raise failure


class Seat:
    """The place of the one agent of a version that listens at an address.

    Whoever holds its lock is that agent; its state file tells launchers how to reach it.
    Parameters: code, the hash of the code; bind, "HOST:PORT" as asked for.
    """

    def __init__(self, code: str, bind: str) -> None:
        self._settle(os.path.join(runtime(), "%s-%s" % (code, bind.replace(":", "-"))))

    @classmethod
    def at(cls, folder: str) -> "Seat":
        """Return the seat that has a folder."""
        seat = cls.__new__(cls)
        seat._settle(folder)
        return seat

    def _settle(self, folder: str) -> None:
        self.folder = folder
        self._lock_path = os.path.join(self.folder, "lock")
        self._state_path = os.path.join(self.folder, "agent.json")
        self._lock: Optional[int] = None

    def take(self) -> bool:
        """Take the seat; False when an agent has it. Raises NoHome."""
        import fcntl  # not on Windows, where this module serves the PC's end

        for _ in range(TRIES):
            if not _own(os.path.dirname(self.folder)):  # again: an agent that ends takes it away
                break
            try:
                if not os.path.isdir(self.folder):
                    os.mkdir(self.folder, 0o700)
                lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except (FileExistsError, FileNotFoundError):
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                return False
            if self._is_current(lock):
                self._lock = lock
                return True
            os.close(lock)
        raise NoHome("%s cannot be made" % self.folder)

    def _is_current(self, lock: int) -> bool:
        """Say whether the file that was locked is still the one that others will find."""
        try:
            return os.path.samestat(os.fstat(lock), os.stat(self._lock_path))
        except FileNotFoundError:
            return False

    def sweep(self) -> None:
        """Remove kernels' folders that an agent before us had no time to remove."""
        entries = os.listdir(self.folder) if os.path.isdir(self.folder) else ()
        for entry in entries:
            if entry.isdigit():
                remove_tree(os.path.join(self.folder, entry))

    def write_state(self, state: Dict[str, Any]) -> None:
        """Tell launchers how to reach the agent; holds the token, so nobody else may read it."""
        partial = self._state_path + ".new"
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(state, file)
        os.replace(partial, self._state_path)

    def read_state(self) -> Optional[Dict[str, Any]]:
        """Return what the agent in this seat wrote, or None when there is none."""
        if self.take():
            self.leave()
            return None
        try:
            with open(self._state_path) as file:
                state = json.load(file)
        except (OSError, ValueError):
            return None  # it is just starting
        return dict(state)

    def leave(self) -> None:
        """Give the seat up."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def clear(self) -> None:
        """Remove what the agent left, its folder included, and leave."""
        self.sweep()
        for path in (self._state_path, self._lock_path, os.path.join(self.folder, "log")):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
        for folder in (self.folder, os.path.dirname(self.folder)):
            try:
                os.rmdir(folder)
            except OSError:
                break  # another agent's folder is still in it
        self.leave()
