"""The lock that makes an agent the only one of its kind, and what it leaves there for launchers."""

from __future__ import annotations

import _socket
import json
import os
import time

from . import home

TYPE_CHECKING = False  # typing would take memory of the service that we may be in
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional


KEEP_SECONDS = 1.0  # for an agent to write its state anew


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
        self._guards: List[int] = []  # descriptors of folders that nobody is to tidy

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
                if self._answers():  # somebody has tidied its lock away
                    os.close(lock)
                    return False
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

    def _answers(self) -> bool:
        """Return whether an agent serves the socket; that one then looks after its files."""
        if not os.path.exists(self.socket):
            return False
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            sock.settimeout(KEEP_SECONDS)
            sock.connect(self.socket)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            pass  # it is busy
        finally:
            sock.close()
        return True

    def keep(self, state: Dict[str, Any]) -> None:
        """Have what tidies /tmp leave the agent's files there, and write anew what it took.

        systemd-tmpfiles passes over a folder that is locked, see tmpfiles.d(5). Others look at how
        old a file is.

        Args:
            state: As for `write_state`.
        """
        import fcntl

        if self._lock is None or not self._is_current(self._lock):
            self.release()
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not self._guards:
            for path in (os.path.dirname(self.folder), home.cache()):
                if os.path.isdir(path):
                    self._guards.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                    fcntl.flock(self._guards[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)
        if not os.path.exists(self._state_path):
            self.write_state(state)
        for folder, _, names in os.walk(self.folder):
            for name in names:
                os.utime(os.path.join(folder, name))
            os.utime(folder)

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
        state = self._state()
        if state is None and self._answers():  # which has it write what was tidied away
            deadline = time.monotonic() + KEEP_SECONDS
            while state is None and time.monotonic() < deadline:
                time.sleep(KEEP_SECONDS / 20)
                state = self._state()
        if state is None:
            return None  # it is just starting
        return dict(state, socket=self.socket, machine=os.uname().nodename)

    def _state(self) -> Optional[Dict[str, Any]]:
        try:
            with open(self._state_path) as file:
                return dict(json.load(file))
        except (OSError, ValueError):
            return None

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
