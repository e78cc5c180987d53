"""The lock that only one agent can have, and the folder that goes with it."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from board_agent.common.agent_lock import AgentLock, agents
from board_agent.common.home import NoHome
from tests.unit.common.test_home import mode


def test_a_lock_is_one_agents(lock: AgentLock) -> None:
    other = AgentLock("c0de", "127.0.0.1:0")
    assert not other.acquire()
    lock.release()
    assert other.acquire()
    other.release()


def test_a_folder_that_cannot_be_made_is_told(folder: Path) -> None:
    lock = AgentLock("c0de", "127.0.0.1:0")
    Path(lock.folder).touch()
    with pytest.raises(NoHome, match="cannot be made"):
        lock.acquire()


def test_its_folder_is_made_again_where_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it would be elsewhere by now: whoever knows of it looks for it there."""
    lock = AgentLock("c0de", "127.0.0.1:0")
    (folder / "run" / "rkernel").rmdir()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert lock.acquire()
    assert mode(folder / "run" / "rkernel") == mode(lock.folder) == 0o700
    lock.clear()


def test_other_code_or_another_address_is_another_lock(lock: AgentLock) -> None:
    for code, bind in (("c0de", "127.0.0.1:1"), ("0ther", "127.0.0.1:0")):
        other = AgentLock(code, bind)
        assert other.acquire()
        other.clear()
    assert Path(lock.folder).exists()


def test_what_an_agent_writes_can_be_read_while_it_is_there(lock: AgentLock) -> None:
    reader = AgentLock("c0de", "127.0.0.1:0")
    assert reader.read_state() is None, "it is just starting"
    lock.write_state({"port": 1, "token": "00"})
    where = {"socket": reader.socket, "machine": os.uname().nodename}
    assert reader.read_state() == {"port": 1, "token": "00", **where}
    assert {mode(path) for path in Path(lock.folder).iterdir()} == {0o600}
    lock.release()
    assert reader.read_state() is None, "an agent that has gone did not take its state with it"


@pytest.mark.parametrize("content", ["", "{", "{}x", "\xff"])
def test_half_a_state_is_none(lock: AgentLock, content: str) -> None:
    (Path(lock.folder) / "agent.json").write_text(content, encoding="latin-1")
    assert AgentLock("c0de", "127.0.0.1:0").read_state() is None


def test_only_the_folders_of_kernels_are_stale(lock: AgentLock) -> None:
    (Path(lock.folder) / "17").mkdir()
    (Path(lock.folder) / "17" / "connection.json").touch()
    (Path(lock.folder) / "other").touch()
    lock.remove_stale()
    assert {path.name for path in Path(lock.folder).iterdir()} == {"lock", "other"}


def test_clearing_leaves_nothing(folder: Path, lock: AgentLock) -> None:
    lock.write_state({})
    (Path(lock.folder) / "log").touch()
    (Path(lock.folder) / "3").mkdir()
    lock.clear()
    assert not list((folder / "run").iterdir())


def test_clearing_what_has_vanished_is_no_error(folder: Path, lock: AgentLock) -> None:
    """As when a user's /run/user folder went with the login."""
    shutil.rmtree(folder / "run")
    lock.clear()


def test_a_lock_that_is_taken_and_cleared_all_the_time_is_never_two_agents(folder: Path) -> None:
    """An agent that ends removes the file that the next one is about to lock."""
    inside: list[int] = []
    taken, crowds, folders = [0] * 4, [], set()

    def play(index: int) -> None:
        while taken[index] < 50:
            lock = AgentLock("c0de", "127.0.0.1:0")
            folders.add(lock.folder)
            if lock.acquire():
                inside.append(index)
                if len(inside) > 1:
                    crowds.append(tuple(inside))
                taken[index] += 1
                inside.remove(index)
                lock.clear()

    threads = [threading.Thread(target=play, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert taken == [50] * 4 and not crowds
    assert folders == {f"{folder}/run/rkernel/c0de-127.0.0.1-0"}, "none looked elsewhere"


def test_what_is_no_agents_folder_is_passed_over(folder: Path, lock: AgentLock) -> None:
    state = {"port": 1, "token": "00"}
    lock.write_state(state)
    stray = folder / "run" / "rkernel" / "stray"
    stray.touch()
    assert {**state, "socket": lock.socket, "machine": os.uname().nodename} in agents()
    assert stray.exists()
