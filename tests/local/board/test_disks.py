"""Boards whose disks are full, read-only or tidied by somebody, as most boards are one day."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rkernel_launcher import errors
from tests.support.boards import Board, wait_until
from tests.support.commands import (
    LIMIT,
    assert_refused,
    connection_file,
    disk,
    fill,
    launcher,
    rkernel,
)
from tests.support.kernels import started
from tests.support.requirements import skip_or_fail

SMALL = "mount -t tmpfs -o noexec,size=300k tmpfs /tmp"
AT_ONCE = 10.0  # seconds; it took 32


# --- a home that cannot be written ----------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """Give the folder that rkernel uses when the home cannot be written."""
    place = Path(f"/var/tmp/rkernel-cache-{os.getuid()}")
    if place.exists():
        skip_or_fail(f"{place} is in use")
    yield place
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


@pytest.fixture
def options(home: Board) -> Iterator[list[str]]:
    """Give the options for a board whose home cannot be written."""
    with disk(home.folder / "disk", "ro") as folder:
        command = f"env -u XDG_CACHE_HOME HOME={folder}"
        yield ["--via", "command", "--command", command, "--python", sys.executable]
        home.end_agents()


def test_a_home_that_cannot_be_written(elsewhere: Path, options: list[str]) -> None:
    options += ["--ipykernel", "bundled"]
    run = rkernel("add", *options, "--name", "ro")
    assert (run.returncode, run.stderr) == (0, "")
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert {path.name.partition("-")[0] for path in elsewhere.iterdir()} == {"code", "bundle"}
    run = rkernel("add", *options, "--name", "again")
    assert run.returncode == 0 and "Sending" not in run.stdout
    assert rkernel("remove", "ro", "--purge").returncode == 0
    assert not elsewhere.exists()


@pytest.mark.parametrize("kind", ["open to others", "a link"])
def test_a_folder_that_is_not_ours_alone_is_not_used(
    home: Board, elsewhere: Path, options: list[str], kind: str
) -> None:
    if kind == "a link":
        elsewhere.symlink_to(home.folder)
    else:
        elsewhere.mkdir()
        elsewhere.chmod(0o755)
    run = rkernel("add", *options, "--name", "ro", "--no-check")
    other = Path(f"/tmp/rkernel-cache-{os.getuid()}")
    assert "Not checked" not in run.stdout
    assert list(other.glob("code-*"))
    shutil.rmtree(other)


# --- a disk that is full --------------------------------------------------------------------------


def test_a_disk_that_is_full_at_a_later_visit(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code is there, but the agent cannot write how to reach it."""
    assert rkernel("add", "--via", "local").returncode == 0
    home.end_agents()
    with disk(home.folder / "disk", "size=64k") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
        fill(folder)
        for _ in range(2):
            begun = time.monotonic()
            run = launcher("--via", "local", connection_file=connection_file(home))
            assert_refused(run, errors.NoSpace, str(folder))
            assert time.monotonic() - begun < AT_ONCE


def test_a_disk_without_a_file_left(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    with disk(home.folder / "disk", "size=64k,nr_inodes=2") as folder:
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        run = launcher("--via", "local", connection_file=connection_file(home))
        assert_refused(run, errors.NoSpace, str(folder))


def test_a_home_that_fills_up_while_a_kernel_runs(home: Board) -> None:
    """Cells go on, without their history."""
    folder = home.folder / "disk"
    there = f"IPYTHONDIR={folder}/ipython"
    with disk(folder, "size=1m"), started(home, "--env", there) as kernel:
        kernel.run("a = 1")
        fill(folder)
        assert kernel.value("a + 1") == "2"
        assert kernel.run("a += 1").reply["content"]["status"] == "ok"
        assert kernel.value("a") == "2"


def test_a_small_tmp_where_nothing_can_be_executed(
    home: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path("/var/tmp") / home.folder.name
    place.mkdir(mode=0o700)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    holder = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", f"{SMALL} && echo ready && exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdin is not None and holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            skip_or_fail("a /tmp of the test's own needs root")
        enter = f"nsenter -t {holder.pid} -m env HOME={place}"
        python = str(Path(sys.executable).resolve())  # of no environment below /tmp
        options = ["--via", "command", "--command", enter, "--python", python]
        run = rkernel("add", "--name", "small", *options, "--ipykernel", "bundled")
        assert (run.returncode, run.stderr) == (0, "")
        run = rkernel("remove", "small", "--purge")
        assert (run.returncode, run.stderr) == (0, "")
    finally:
        holder.communicate(timeout=LIMIT)
        shutil.rmtree(place, ignore_errors=True)


# --- a /tmp that is tidied ------------------------------------------------------------------------


def tidy(board: Board) -> None:
    """Remove all that is old and that nobody keeps, as systemd does each day."""
    if shutil.which("systemd-tmpfiles") is None:
        skip_or_fail("systemd-tmpfiles is not installed")
    rules = board.folder / "tmpfiles.conf"
    rules.write_text(f"e {board.runtime} - - - 1s\n")
    time.sleep(1.1)  # until everything is old
    subprocess.run(["systemd-tmpfiles", "--clean", str(rules)], check=True, timeout=LIMIT)


def test_systemd_leaves_what_a_living_agent_has(home: Board) -> None:
    with started(home) as kernel:
        kernel.run("kept = 7")
        (Path(home.runtime) / "others").write_text("")
        before = sorted(Path(home.runtime, "rkernel").rglob("*"))
        tidy(home)
        assert not (Path(home.runtime) / "others").exists(), "it has tidied nothing"
        assert sorted(Path(home.runtime, "rkernel").rglob("*")) == before
        assert kernel.value("kept") == "7"


@pytest.mark.parametrize("gone", [("lock",), ("agent.json",), ("lock", "agent.json", "log")])
def test_what_others_take_is_written_anew(home: Board, gone: tuple[str, ...]) -> None:
    with started(home) as kernel:
        kernel.run("kept = 7")
        (agent,) = home.agents()
        (folder,) = Path(home.runtime, "rkernel").iterdir()
        for name in gone:
            (folder / name).unlink(missing_ok=True)
        rkernel("add", "--via", "local", "--name", "here", "--no-check", "--yes")
        run = rkernel("ps", "here")
        assert "connected" in run.stdout, run
        assert home.agents() == {agent}, "a second agent was started"
        with started(home) as other:
            assert other.value("1 + 1") == "2"
            assert home.agents() == {agent}
        assert kernel.value("kept") == "7"
    wait_until(lambda: not home.kernels(), "the kernel ends", LIMIT)
