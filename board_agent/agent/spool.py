"""What waits while a link is down: a little in memory, then on disk, first in, first out."""

import os
from collections import deque
from typing import Deque, List, Optional

from ..common.home import cache

MAX_MEMORY = 1 << 17  # bytes kept in memory
MAX_DISK = 64 << 20  # bytes kept on disk
SHARE = 10  # and no more than one part in so many of what is free there
MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs", "devtmpfs")  # file systems that are memory


class Spool:
    """A queue of bytes.

    Its file loses its name at once, so that nothing is left behind.

    Args:
        limit: The bytes that it may keep on disk.
        folders: Where its file may be; the first that is on a disk counts.
    """

    def __init__(self, limit: int = MAX_DISK, folders: Optional[List[str]] = None) -> None:
        self._limit = limit
        self._folders = [cache(), "/var/tmp"] if folders is None else folders
        self._before: Deque[bytes] = deque()  # in memory, older than what is in the file
        self._file: Optional[int] = None
        self._read = self._written = 0  # positions in the file
        self._after = b""  # in memory, newer: what the disk did not take
        self._disk: Optional[int] = None  # bytes that it may take; unknown until needed
        self._in_memory = 0

    def __len__(self) -> int:
        return self._in_memory + self._written - self._read

    @property
    def room(self) -> int:
        """The bytes that can be added now."""
        if self._file is None and self._in_memory < MAX_MEMORY:
            return MAX_MEMORY - self._in_memory
        if self._disk is None:
            self._disk = self._open()
        return 0 if self._after else max(0, self._disk - self._written)

    def append(self, data: bytes) -> None:
        """Add bytes at the end: no more than `room`."""
        if self._file is None:
            self._before.append(data)
            self._in_memory += len(data)
            return
        try:
            while data:
                count = os.pwrite(self._file, data, self._written)
                self._written += count
                data = data[count:]
        except OSError:  # the disk is full before its time
            self._after = data
            self._in_memory += len(data)

    def push_front(self, data: bytes) -> None:
        """Put bytes before all others, whatever the room."""
        if data:
            self._before.appendleft(data)
            self._in_memory += len(data)

    def popleft(self, size: int) -> bytes:
        """Return and remove at most `size` bytes from the beginning, and at least one.

        Raises:
            OSError: The disk failed.
        """
        if self._before:
            data = self._before.popleft()
            if len(data) > size:
                self._before.appendleft(data[size:])
            self._in_memory -= min(size, len(data))
        elif self._read < self._written:
            assert self._file is not None
            data = os.pread(self._file, min(size, self._written - self._read), self._read)
            self._read += len(data)
        else:
            data, self._after = self._after, self._after[size:]
            self._in_memory -= min(size, len(data))
        if not self:
            self.close()  # the next outage begins in memory, and asks the disk again
        return data[:size]

    def close(self) -> None:
        """Give up the file, with what is in it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._read = self._written = 0
        self._disk = None

    def _open(self) -> int:
        """Open the file; return the bytes that it may take, 0 where there is no disk."""
        for folder in self._folders:
            try:
                if not is_disk(folder):
                    continue
                found = os.statvfs(folder)
                path = "%s/spool-%d" % (folder, os.getpid())
                self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
                os.unlink(path)
            except OSError:
                continue  # not there, or not ours
            return min(self._limit, found.f_bavail * found.f_frsize // SHARE)
        return 0


def is_disk(folder: str) -> bool:
    """Return whether a folder is on a disk, and not in memory that looks like one.

    Raises:
        OSError: The folder or the list of mounts cannot be read.
    """
    device = os.stat(folder).st_dev
    number = "%d:%d" % (os.major(device), os.minor(device))
    with open("/proc/self/mountinfo", errors="replace") as file:  # names may be anything
        for line in file:
            words = line.split()
            if words[2] == number:
                kind, _, options = words[words.index("-") + 1 :][:3]
                return kind not in MEMORY_FILE_SYSTEMS and (
                    kind != "overlay" or _is_upper_on_disk(options)
                )
    return True  # a file system whose mounts have a device of their own each


def _is_upper_on_disk(options: str) -> bool:
    """Return whether the folder that an overlay writes to is on a disk; True if nobody knows."""
    for option in options.split(","):
        if option.startswith("upperdir=") and os.path.isdir(option[9:]):
            return is_disk(option[9:])
    return True
