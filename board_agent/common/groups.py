"""The groups of a process: what a login has that an older process lacks."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing would take memory of the service that we may be in
if TYPE_CHECKING:
    from typing import List


def lacking(pid: int) -> List[str]:
    """Return the groups that this process has and another lacks, by name; none if nobody knows."""
    try:
        with open("/proc/%d/status" % pid) as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        theirs = {int(number) for name in ("Gid", "Groups") for number in fields[name].split()}
    except (OSError, KeyError, ValueError):
        return []
    missing = {*os.getgroups(), os.getgid()} - theirs
    return sorted(map(_name, missing))


def _name(number: int) -> str:
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
