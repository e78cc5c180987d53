"""As much of psutil as kernels use, from /proc, for boards that have none.

What it lacks raises an error that names it, which is both an AttributeError and a
NotImplementedError. Sources: https://psutil.readthedocs.io/, and proc(5).
"""

from __future__ import annotations

import os
import signal
import time
from collections import namedtuple
from typing import Any

__version__ = "5.9.8"  # of the psutil that this behaves like

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds

svmem = namedtuple(
    "svmem",
    "total available percent used free active inactive buffers cached shared slab",
)
pfullmem = namedtuple("pfullmem", "rss vms shared text lib data dirty uss pss swap")
pmem = namedtuple("pmem", "rss vms shared text lib data dirty")


class Error(Exception):
    """The base of all errors."""


class NoSuchProcess(Error):
    """The process is gone."""

    def __init__(self, pid: int, name: Any = None, msg: Any = None) -> None:
        super().__init__(msg or "process no longer exists (pid=%d)" % pid)
        self.pid = pid


class AccessDenied(Error):
    """The process is somebody else's."""


class NotThere(AttributeError, NotImplementedError):
    """This stand-in for psutil does not have it."""


def __getattr__(name: str) -> Any:
    raise NotThere("psutil.%s is not in this stand-in for psutil, which kernels run on" % name)


def net_if_addrs() -> Any:
    """Raise ImportError: jupyter_client takes that for having no psutil, and asks others."""
    raise ImportError("psutil.net_if_addrs is not in this stand-in")


def cpu_count(logical: bool = True) -> Any:
    """Return how many processors there are."""
    return os.cpu_count()


_last_cpu = None


def cpu_percent(interval: Any = None, percpu: bool = False) -> float:
    """Return how busy the processors were since the last call; 0.0 at first."""
    global _last_cpu
    if interval or percpu:
        raise NotThere("psutil.cpu_percent of an interval is not in this stand-in for psutil")
    with open("/proc/stat") as file:
        times = [int(ticks) for ticks in file.readline().split()[1:9]]  # guests are in user
    last, _last_cpu = _last_cpu, times
    spent = list(map(int.__sub__, times, last or times))
    idle = spent[3] + spent[4]  # and waiting for a disk
    return round(100.0 * (sum(spent) - idle) / sum(spent), 1) if sum(spent) > 0 else 0.0


def virtual_memory() -> Any:
    """Return how much memory the machine has, and how much of it is used, in bytes."""
    with open("/proc/meminfo") as file:
        rows = (line.split() for line in file)
        info = {row[0][:-1]: int(row[1]) * 1024 for row in rows}
    total, free = info["MemTotal"], info["MemFree"]
    cached = info.get("Cached", 0) + info.get("SReclaimable", 0)
    available = info.get("MemAvailable", free + cached)  # since Linux 3.14
    return svmem(
        total=total,
        available=available,
        percent=round(100.0 * (total - available) / total, 1),
        used=total - available,
        free=free,
        active=info.get("Active", 0),
        inactive=info.get("Inactive", 0),
        buffers=info.get("Buffers", 0),
        cached=cached,
        shared=info.get("Shmem", 0),
        slab=info.get("Slab", 0),
    )


class Process:
    """A process, by default this one.

    Raises:
        NoSuchProcess: It is gone.
    """

    def __init__(self, pid: Any = None) -> None:
        self.pid = os.getpid() if pid is None else int(pid)
        self._started = self._stat()[19]
        self._last: Any = None  # when its time was asked for, and what it was

    def __repr__(self) -> str:
        return "psutil.Process(pid=%d)" % self.pid

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Process) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __getattr__(self, name: str) -> Any:
        raise NotThere("psutil.Process.%s is not in this stand-in for psutil" % name)

    def _identity(self) -> Any:
        return self.pid, self._started

    def _read(self, name: str) -> str:
        try:
            with open("/proc/%d/%s" % (self.pid, name), errors="replace") as file:
                return file.read()
        except PermissionError:
            raise AccessDenied(self.pid) from None
        except (FileNotFoundError, ProcessLookupError):
            raise NoSuchProcess(self.pid) from None

    def _stat(self) -> Any:
        """Return the fields of stat after the name, which may contain anything."""
        return self._read("stat").rpartition(")")[2].split()

    def is_running(self) -> bool:
        """Return whether it runs, and not another one with its number."""
        try:
            return bool(self._stat()[19] == self._started)
        except NoSuchProcess:
            return False

    def ppid(self) -> int:
        """Return the number of its parent."""
        return int(self._stat()[1])

    def children(self, recursive: bool = False) -> Any:
        """Return its children, and with `recursive` all their descendants."""
        by_parent: Any = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    process = Process(name)
                    by_parent.setdefault(process.ppid(), []).append(process)
                except Error:
                    pass  # it ended just now
        found = list(by_parent.get(self.pid, []))
        for child in found if recursive else ():
            found += by_parent.get(child.pid, [])
        return found

    def cpu_percent(self, interval: Any = None) -> float:
        """Return how much of a processor it took since the last call; 0.0 at first."""
        if interval:
            raise NotThere("psutil.Process.cpu_percent of an interval is not in this stand-in")
        stat, now = self._stat(), time.monotonic()
        used = (int(stat[11]) + int(stat[12])) * TICK
        last, self._last = self._last, (now, used)
        if last is None or now <= last[0]:
            return 0.0
        return float(round(100.0 * (used - last[1]) / (now - last[0]), 1))

    def memory_info(self) -> Any:
        """Return the memory that it takes, in bytes."""
        size, resident, shared, text, lib, data, dirty = map(int, self._read("statm").split())
        pages = (resident, size, shared, text, lib, data, dirty)
        return pmem(*(count * PAGE for count in pages))

    def memory_full_info(self) -> Any:
        """Return the same, and its own memory, its share of what is shared, and what is swapped."""
        try:
            maps = self._read("smaps_rollup")  # since Linux 4.14
        except NoSuchProcess:
            maps = self._read("smaps")
        sums: Any = {}
        for line in maps.splitlines():
            words = line.split()
            if words[-1] == "kB":
                sums[words[0]] = sums.get(words[0], 0) + int(words[1]) * 1024
        own = sum(sums.get("Private_%s:" % kind, 0) for kind in ("Clean", "Dirty", "Hugetlb"))
        more = (own, sums.get("Pss:", 0), sums.get("Swap:", 0))
        return pfullmem(*(*self.memory_info(), *more))

    def send_signal(self, sig: int) -> None:
        """Send it a signal.

        Raises:
            NoSuchProcess: It is gone.
            AccessDenied: It is somebody else's.
        """
        if not self.is_running():
            raise NoSuchProcess(self.pid)
        try:
            os.kill(self.pid, sig)
        except ProcessLookupError:
            raise NoSuchProcess(self.pid) from None
        except PermissionError:
            raise AccessDenied(self.pid) from None

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)
