"""How much memory there is, and who has it."""

import os
from typing import Dict, Optional

KMSG_RECORD = 8192  # bytes of the longest record of Linux's log
SHORT = 64 << 20  # available bytes, below which memory is not to be spent for speed


def memory_of_board() -> Dict[str, int]:
    """Return /proc/meminfo in bytes; nothing where it does not exist."""
    try:
        with open("/proc/meminfo") as file:
            rows = (line.split() for line in file)
            return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}
    except OSError:
        return {}


def available(unknown: int) -> int:
    """Return the bytes of memory that can be had at once, or `unknown` where nobody says."""
    return memory_of_board().get("MemAvailable", unknown)


def was_out_of_memory(pid: int) -> Optional[bool]:
    """Return whether Linux ended a process for lack of memory; None if its log is not for us.

    Source: the text of mm/oom_kill.c, "Killed process PID (", before 5.0 "Kill process PID (".
    """
    words = b"process %d (" % pid
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    found = False
    try:
        while True:
            try:
                record = os.read(log, KMSG_RECORD)
            except BrokenPipeError:  # newer records have taken the place of this one
                continue
            found = found or (b"Kill" in record and words in record)
    except OSError:
        return found  # that was the last one
    finally:
        os.close(log)


def memory_of_process(pid: int) -> Optional[int]:
    """Return the bytes that a process takes: its share (PSS), or all it has where Linux is old.

    None means that it has ended, or that /proc does not exist.
    """
    try:
        with open("/proc/%d/smaps_rollup" % pid) as file:
            fields = (line.split() for line in file)
            return next(int(words[1]) * 1024 for words in fields if words[0] == "Pss:")
    except (OSError, StopIteration):
        pass
    try:
        with open("/proc/%d/statm" % pid) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return None  # it has ended, or there is no /proc
