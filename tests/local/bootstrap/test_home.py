"""The agent's folders, and the seat that only one agent can have."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from board_agent.common import home
from board_agent.common.agent_lock import AgentLock, agents
from board_agent.common.home import NoHome


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a short folder, in which XDG_RUNTIME_DIR and the cache are."""
    fallback = Path(f"/tmp/rkernel-{os.getuid()}")
    was_there = fallback.exists()
    with tempfile.TemporaryDirectory(prefix="rk-", dir="/tmp") as name:
        (Path(name) / "run").mkdir(mode=0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{name}/run")
        monkeypatch.setenv("XDG_CACHE_HOME", f"{name}/cache")
        yield Path(name)
    if not was_there:
        with contextlib.suppress(OSError):  # another run of the tests may have one too
            fallback.rmdir()


@pytest.fixture
def lock(folder: Path) -> Iterator[AgentLock]:
    made = AgentLock("c0de", "127.0.0.1:0")
    assert made.acquire()
    yield made
    made.release()


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


# --- folders -------------------------------------------------------------------------------------


def test_the_runtime_folder_is_made_and_private(folder: Path) -> None:
    assert home.runtime_folder() == f"{folder}/run/rkernel"
    assert mode(home.runtime_folder()) == 0o700
    assert home.runtime_folder() == f"{folder}/run/rkernel", "the second time too"


@pytest.mark.parametrize(
    "bad", ["open to others", "closed to us", "a link", "a file", "too long", "not there"]
)
def test_a_folder_that_is_not_private_is_not_used(
    folder: Path, bad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "run" / "rkernel"
    if bad == "open to others":
        path.mkdir(mode=0o755)
    elif bad == "closed to us":
        path.mkdir(mode=0o500)
    elif bad == "a link":
        (folder / "elsewhere").mkdir(mode=0o700)
        path.symlink_to(folder / "elsewhere")
    elif bad == "a file":
        path.touch(0o600)
    elif bad == "too long":
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{folder}/{'x' * 50}")
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/dev/null")
    assert home.runtime_folder() == f"/tmp/rkernel-{os.getuid()}"
    assert mode(home.runtime_folder()) == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can lay a folder of somebody else's")
def test_a_folder_of_somebody_else_is_not_used(folder: Path) -> None:
    path = folder / "run" / "rkernel"
    path.mkdir(mode=0o700)
    os.chown(path, 65534, 65534)
    assert home.runtime_folder() != str(path)


def test_no_folder_at_all_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "is_private", lambda path: False)
    with pytest.raises(NoHome, match=f"{folder}/run/rkernel"):
        home.runtime_folder()


def test_the_cache_is_where_the_user_has_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.cache() == f"{folder}/cache/rkernel"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(folder))
    assert home.cache() == f"{folder}/.cache/rkernel"


# --- the seat ------------------------------------------------------------------------------------


def test_a_seat_is_one_agents(lock: AgentLock) -> None:
    other = AgentLock("c0de", "127.0.0.1:0")
    assert not other.acquire()
    lock.release()
    assert other.acquire()
    other.release()


def test_a_seat_that_cannot_be_is_told(folder: Path) -> None:
    lock = AgentLock("c0de", "127.0.0.1:0")
    Path(lock.folder).touch()
    with pytest.raises(NoHome, match="cannot be made"):
        lock.acquire()


def test_a_seat_is_made_again_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it would be elsewhere by now: whoever knows of it looks for it there."""
    lock = AgentLock("c0de", "127.0.0.1:0")
    (folder / "run" / "rkernel").rmdir()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert lock.acquire()
    assert mode(folder / "run" / "rkernel") == mode(lock.folder) == 0o700
    lock.clear()


def test_the_folder_of_a_login_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes with the login, and kernels are to stay."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    assert home.runtime_folder() == f"/tmp/rkernel-{os.getuid()}"


def test_other_code_or_another_address_is_another_seat(lock: AgentLock) -> None:
    for code, bind in (("c0de", "127.0.0.1:1"), ("0ther", "127.0.0.1:0")):
        other = AgentLock(code, bind)
        assert other.acquire()
        other.clear()
    assert Path(lock.folder).exists()


def test_what_an_agent_writes_can_be_read_while_it_is_there(lock: AgentLock) -> None:
    reader = AgentLock("c0de", "127.0.0.1:0")
    assert reader.read_state() is None, "it is just starting"
    lock.write_state({"port": 1, "token": "00"})
    assert reader.read_state() == {"port": 1, "token": "00"}
    assert {mode(path) for path in Path(lock.folder).iterdir()} == {0o600}
    lock.release()
    assert reader.read_state() is None, "an agent that has gone did not take its state with it"


@pytest.mark.parametrize("content", ["", "{", "{}x", "\xff"])
def test_half_a_state_is_none(lock: AgentLock, content: str) -> None:
    (Path(lock.folder) / "agent.json").write_text(content, encoding="latin-1")
    assert AgentLock("c0de", "127.0.0.1:0").read_state() is None


def test_sweeping_takes_kernels_folders_only(lock: AgentLock) -> None:
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
    subprocess.run(["rm", "-r", f"{folder}/run"], check=True, timeout=30)
    lock.clear()


def test_the_lock_is_not_inherited(lock: AgentLock) -> None:
    command = [sys.executable, "-c", "print('runs', flush=True); input()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, close_fds=False) as child:
        assert child.stdout is not None and child.stdout.readline() == b"runs\n"
        lock.release()
        other = AgentLock("c0de", "127.0.0.1:0")
        assert other.acquire()
        other.release()
        child.communicate(b"\n", timeout=30)


def test_a_seat_that_is_taken_and_cleared_all_the_time_is_never_two_agents(folder: Path) -> None:
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


# --- all agents ----------------------------------------------------------------------------------


def test_what_is_no_agents_folder_is_passed_over(folder: Path, lock: AgentLock) -> None:
    state = {"port": 1, "token": "00"}
    lock.write_state(state)
    stray = folder / "run" / "rkernel" / "stray"
    stray.touch()
    assert state in agents()
    assert stray.exists()
