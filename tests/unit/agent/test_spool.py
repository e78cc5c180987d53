"""The spool against a plain queue of bytes, and against folders that are of no use."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from board_agent.agent import spool as spool_module
from board_agent.agent.spool import MAX_DISK, MAX_MEMORY, SHARE, Spool, is_disk

if sys.platform != "linux":
    pytest.skip("the spool is the board's, which is Linux", allow_module_level=True)

DISK = Path(__file__).parent
IN_MEMORY = Path("/dev/shm")


def pattern(start: int, count: int) -> bytes:
    """Bytes that tell where they belong."""
    first = start // 4
    words = b"".join(number.to_bytes(4, "big") for number in range(first, first + count // 4 + 2))
    return words[start % 4 :][:count]


def fill(spool: Spool, size: int = 50_000, most: int = MAX_DISK) -> int:
    """Add while there is room; return how much went in."""
    added = 0
    while (room := min(size, spool.room, most - added)) > 0:
        spool.append(pattern(added, room))
        added += room
    return added


def empty(spool: Spool, size: int = 30_000) -> bytes:
    parts = []
    while spool:
        parts.append(spool.popleft(size))
        assert 0 < len(parts[-1]) <= size
    return b"".join(parts)


def files_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    """Give a folder on a disk; no file may be left in it, nor open."""
    if not is_disk(str(tmp_path)):
        pytest.skip("temporary files are in memory here")
    before = files_open()
    yield str(tmp_path)
    assert not any(tmp_path.iterdir())
    assert files_open() == before


class AnyUse(RuleBasedStateMachine):
    """Use a spool more wildly than forwarders do, with small limits; compare with a bytearray."""

    MEMORY, LIMIT = 100, 500

    @initialize(folders=st.sampled_from([[DISK], [IN_MEMORY, DISK], [IN_MEMORY], []]))
    def begin(self, folders: list[Path]) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(spool_module, "MAX_MEMORY", self.MEMORY)
        self.spool = Spool(self.LIMIT, [str(folder) for folder in folders])
        self.disk = DISK in folders
        self.model = bytearray()
        self.count = 0
        self.put_back_bytes = 0

    def new(self, count: int) -> bytes:
        self.count += count
        return pattern(self.count - count, count)

    @rule(size=st.integers(1, 200))
    def add(self, size: int) -> None:
        room = self.spool.room
        assert room >= 0
        data = self.new(min(size, room))
        if data:
            self.spool.append(data)
            self.model += data

    @rule(size=st.integers(1, 300))
    def take(self, size: int) -> None:
        if self.model:
            data = self.spool.popleft(size)
            assert 0 < len(data) <= size
            assert data == self.model[: len(data)]
            del self.model[: len(data)]

    @rule(size=st.integers(0, 200))
    def put_back(self, size: int) -> None:
        data = self.new(size)
        self.spool.push_front(data)
        self.model[:0] = data
        self.put_back_bytes += size

    @rule()
    def empty(self) -> None:
        while self.model:
            self.take(1000)
        assert self.spool.room == self.MEMORY, "it begins in memory again"

    @invariant()
    def it_holds_what_it_was_given(self) -> None:
        if hasattr(self, "model"):
            assert len(self.spool) == len(self.model)
            assert bool(self.spool) == bool(self.model)
            most = self.MEMORY + self.LIMIT * self.disk
            assert len(self.model) <= most + self.put_back_bytes

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.empty()
            self.spool.close()
            self.patch.undo()


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=100, stateful_step_count=40)


def test_memory_comes_first_and_then_the_disk_as_far_as_the_limit(folder: str) -> None:
    before = files_open()
    spool = Spool(300_000, [folder])
    assert spool.room == MAX_MEMORY
    spool.append(bytes(MAX_MEMORY))
    assert files_open() == before
    assert spool.room == 300_000
    assert files_open() == before + 1
    assert not any(Path(folder).iterdir()), "the file has no name"
    assert fill(spool) == 300_000
    assert spool.room == 0 and len(spool) == MAX_MEMORY + 300_000
    empty(spool)
    assert files_open() == before


def test_order_is_kept_through_memory_and_file(folder: str) -> None:
    spool = Spool(1 << 20, [folder])
    added = fill(spool)
    assert added >= MAX_MEMORY + (1 << 20)
    front = spool.popleft(1000)
    spool.push_front(front[600:])
    assert front[:600] + empty(spool) == pattern(0, added)


def test_what_was_given_up_leaves_nothing(folder: str) -> None:
    spool = Spool(1 << 20, [folder])
    fill(spool)
    spool.close()


def test_only_a_share_of_what_is_free_is_taken(folder: str) -> None:
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    spool = Spool(1 << 60, [folder])
    spool.append(bytes(MAX_MEMORY))
    assert spool.room == pytest.approx(free / SHARE, rel=0.1)
    spool.close()


def test_without_a_disk_there_is_memory_only(tmp_path: Path) -> None:
    spool = Spool(1 << 20, [str(IN_MEMORY), str(tmp_path / "nowhere")])
    assert fill(spool) == MAX_MEMORY == len(spool)
    assert spool.room == 0
    assert empty(spool) == pattern(0, MAX_MEMORY)
    assert spool.room == MAX_MEMORY


def test_a_folder_that_cannot_be_used_is_passed_over(folder: str, tmp_path: Path) -> None:
    taken = tmp_path / f"spool-{os.getpid()}"  # of a process that died, or a trap
    taken.symlink_to("/etc/passwd")
    other = tmp_path / "other"
    other.mkdir()
    spool = Spool(1 << 20, [str(tmp_path / "nowhere"), folder, str(other)])
    assert fill(spool) == MAX_MEMORY + (1 << 20)
    spool.close()
    taken.unlink()
    other.rmdir()


def test_memory_that_looks_like_a_disk_is_known() -> None:
    assert not is_disk("/dev/shm")
    with pytest.raises(FileNotFoundError):
        is_disk("/nowhere")


@contextlib.contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Have writes beyond a size fail, in this process."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def check_full_disk(spool: Spool, still_fits: Callable[[], None]) -> None:
    """See that a disk that is full before its time loses nothing, and is asked again later."""
    added = fill(spool, size=1 << 16)
    assert added > MAX_MEMORY and spool.room == 0
    assert len(spool) == added
    spool.push_front(b"front")
    assert spool.popleft(5) == b"front"
    assert spool.popleft(MAX_MEMORY) == pattern(0, 1 << 16)
    assert spool.room == 0, "nothing may come between"
    assert empty(spool) == pattern(1 << 16, added - (1 << 16))
    assert spool.room == MAX_MEMORY
    still_fits()
    again = fill(spool, size=1 << 16)
    assert again > added
    assert empty(spool) == pattern(0, again)


def test_a_disk_that_takes_no_more(folder: str) -> None:
    limit = contextlib.ExitStack()
    with limit:
        limit.enter_context(no_file_longer_than(100_000))
        check_full_disk(Spool(1 << 20, [folder]), limit.close)
