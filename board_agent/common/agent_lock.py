"""The lock that makes an agent the only one of its kind, and what it leaves there for launchers."""

from __future__ import annotations

import json
import os

from . import home

TYPE_CHECKING = False  # typing would take memory of the service that we may be in
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional


def agents() -> List[Dict[str, Any]]:
    """Return what each of our agents that runs here wrote, whatever its version and address.

    It removes what agents have left that were killed.
    """
    found = []
    for path in home.candidates():
        if not os.path.isdir(path) or not home.is_private(path):
            continue
        for name in _names(path):
            if not os.path.isdir(os.path.join(path, name)):
                continue
            lock = AgentLock.at(os.path.join(path, name))
            state = lock.read_state()
            if state is not None:
                found.append(state)
            elif lock.acquire():
                lock.clear()
    return found


def _names(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []  # an agent that ends has just taken it away


class AgentLock:
    """The lock of the one agent of a version, or of those that listen at an address.

    Whoever holds it is that agent; its state file tells launchers how to reach it.

    Args:
        code: The hash of the agent's code.
        bind: "HOST:PORT" or ":PORT", as asked for, or empty.

    Raises:
        NoHome: No folder can hold it.
    """

    def __init__(self, code: str, bind: str) -> None:
        name = "-".join(filter(None, (code, bind.replace(":", "-"))))
        self._set_folder(os.path.join(home.runtime_folder(), name))

    @classmethod
    def at(cls, folder: str) -> "AgentLock":
        """Return the lock that has a folder."""
        lock = cls.__new__(cls)
        lock._set_folder(folder)
        return lock

    def _set_folder(self, folder: str) -> None:
        self.folder = folder
        self._lock_path = os.path.join(self.folder, "lock")
        self._state_path = os.path.join(self.folder, "agent.json")
        self.socket = os.path.join(self.folder, "link")
        self._lock: Optional[int] = None

    def acquire(self) -> bool:
        """Acquire the lock; return False if an agent holds it.

        Raises:
            NoHome: Its folder cannot be made.
        """
        import fcntl  # not on Windows, where this module serves the PC's end

        for _ in range(home.TRIES):
            if not home.is_private(
                os.path.dirname(self.folder)
            ):  # again: an agent that ends takes it away
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
        raise home.NoHome("%s cannot be made" % self.folder)

    def _is_current(self, lock: int) -> bool:
        """Return whether the file that was locked is still the one that others will find."""
        try:
            return os.path.samestat(os.fstat(lock), os.stat(self._lock_path))
        except FileNotFoundError:
            return False

    def remove_stale(self) -> None:
        """Remove what an agent before this one had no time to remove."""
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        entries = os.listdir(self.folder) if os.path.isdir(self.folder) else ()
        for entry in entries:
            if entry.isdigit():
                home.remove_tree(os.path.join(self.folder, entry))

    def write_state(self, state: Dict[str, Any]) -> None:
        """Write how launchers reach the agent; with the token, so only this user may read it."""
        partial = self._state_path + ".new"
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(state, file)
        os.replace(partial, self._state_path)

    def read_state(self) -> Optional[Dict[str, Any]]:
        """Return what the agent that holds the lock wrote; None if none does, or none yet."""
        if self.acquire():
            self.release()
            return None
        try:
            with open(self._state_path) as file:
                state = json.load(file)
        except (OSError, ValueError):
            return None  # it is just starting
        return dict(state, socket=self.socket, machine=os.uname().nodename)

    def release(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def clear(self) -> None:
        """Remove what the agent left, its folder included, and release the lock."""
        self.remove_stale()
        log = os.path.join(self.folder, "log")
        for path in (self._state_path, self._lock_path, log):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
        for folder in (self.folder, os.path.dirname(self.folder)):
            try:
                os.rmdir(folder)
            except OSError:
                break  # another agent's folder is still in it
        self.release()
