"""The spool on disks that others fill, and on mounts that only look like disks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from board_agent.agent import spool as spool_module
from board_agent.agent.spool import MAX_MEMORY, Spool, is_disk
from tests.support.commands import disk
from tests.support.requirements import skip_or_fail
from tests.unit.agent.test_spool import empty, fill, pattern

if sys.platform != "linux":
    pytest.skip("the spool is the board's, which is Linux", allow_module_level=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 4 MB, where this process may make one."""
    image, mounted = tmp_path / "image", tmp_path / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(4 << 20)
    commands = (["mkfs.ext4", "-q", image], ["mount", "-o", "loop", image, mounted])
    for command in commands:
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=30)
        except FileNotFoundError:
            pytest.skip(f"{command[0]} is not installed")
        if result.returncode:
            pytest.skip(f"this process may not mount: {result.stderr}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True, timeout=30)


def test_a_disk_that_others_fill_meanwhile(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "SHARE", 1)
    other = small_disk / "other"
    with contextlib.closing(Spool(1 << 40, [str(small_disk)])) as spool:
        spool.append(pattern(0, MAX_MEMORY))
        room = spool.room
        assert 1 << 20 < room < 4 << 20
        taken = MAX_MEMORY
        while spool.room:
            if taken > 500_000:
                fill_up(other)
            count = min(50_000, spool.room)
            spool.append(pattern(taken, count))
            taken += count
        assert taken < MAX_MEMORY + room, "the disk was full before its time"
        assert empty(spool) == pattern(0, taken)
        fill_up(other)
        assert fill(spool) == MAX_MEMORY, "it is full from the start now"
        assert empty(spool) == pattern(0, MAX_MEMORY)
        other.unlink()
        assert fill(spool) > MAX_MEMORY + (1 << 20), "and is asked again each time"


def fill_up(path: Path) -> None:
    """Lengthen a file until its disk is full."""
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))


def test_a_mount_may_have_any_name(small_disk: Path) -> None:
    odd = small_disk / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", odd], check=True, timeout=30)
    try:
        assert is_disk(str(small_disk))
        assert not is_disk(str(odd))
    finally:
        subprocess.run(["umount", odd], check=True, timeout=30)


def test_an_overlay_is_where_what_is_written_to_it_goes(tmp_path: Path) -> None:
    with disk(tmp_path / "memory", "size=1m") as memory:
        lower, upper, work, mounted = (memory / name for name in ("lower", "upper", "work", "all"))
        for made in (lower, upper, work, mounted):
            made.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, mounted]
        if subprocess.run(mount, capture_output=True, timeout=30).returncode:
            skip_or_fail("mounting an overlay for the test needs root, and overlayfs")
        try:
            assert not is_disk(str(mounted))
        finally:
            subprocess.run(["umount", mounted], check=True, timeout=30)
