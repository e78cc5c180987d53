"""The stand-in for psutil, measured by the real one."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.support.boards import ROOT

PATH = ROOT / "board_agent" / "stand_ins" / "psutil.py"
SPEC = importlib.util.spec_from_file_location("psutil_stand_in", PATH)
assert SPEC is not None and SPEC.loader is not None
ours: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(ours)

FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "print('up', flush=True); input()"])
child.wait()
"""


@pytest.fixture
def family() -> Iterator[subprocess.Popen[str]]:
    """A process and a child of it, which are up."""
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", FAMILY], **pipes) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        yield parent
        parent.communicate("\n", timeout=20)


def test_the_family(family: subprocess.Popen[str]) -> None:
    mine = {process.pid for process in ours.Process().children(recursive=True)}
    assert mine == {process.pid for process in psutil.Process().children(recursive=True)}
    (child,) = ours.Process(family.pid).children()
    assert [child.pid] == [process.pid for process in psutil.Process(family.pid).children()]
    assert child.pid in mine and child.ppid() == family.pid
    assert family.pid in {process.pid for process in ours.Process().children()}
    assert child.pid not in {process.pid for process in ours.Process().children()}
    child.terminate()
    assert family.wait(20) == 0
    assert not child.is_running()
    with pytest.raises(ours.NoSuchProcess):
        child.kill()
    with pytest.raises(ours.NoSuchProcess):
        ours.Process(child.pid)


def test_a_process_is_ended(family: subprocess.Popen[str]) -> None:
    (child,) = ours.Process(family.pid).children()
    ours.Process(family.pid).kill()
    assert family.wait(20) == -signal.SIGKILL
    child.send_signal(signal.SIGKILL)


def test_memory_of_a_process(family: subprocess.Popen[str]) -> None:
    mine, real = (
        module.Process(family.pid).memory_full_info()._asdict() for module in (ours, psutil)
    )
    assert list(mine) == list(real)
    assert mine["vms"] == real["vms"] and mine["data"] == real["data"]
    for name in ("rss", "pss", "uss", "shared"):
        assert mine[name] == pytest.approx(real[name], rel=0.1, abs=1 << 19), name


def test_memory_where_linux_is_old(
    family: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = ours.Process(family.pid)
    new, read = process.memory_full_info(), ours.Process._read

    def old(self: Any, name: str) -> str:
        if name == "smaps_rollup":
            raise ours.NoSuchProcess(self.pid)
        return str(read(self, name))

    monkeypatch.setattr(ours.Process, "_read", old)
    assert process.memory_full_info().pss == pytest.approx(new.pss, rel=0.1)
    assert process.memory_full_info().uss == pytest.approx(new.uss, rel=0.1, abs=1 << 16)


def test_memory_of_the_machine() -> None:
    mine, real = (module.virtual_memory()._asdict() for module in (ours, psutil))
    assert list(mine) == list(real)
    assert mine["total"] == real["total"]
    for name in mine.keys() - {"percent"}:
        assert mine[name] == pytest.approx(real[name], rel=0.3, abs=1 << 28), name
    assert 0 < mine["percent"] < 100
    assert all(type(mine[name]) is type(real[name]) for name in mine)


def test_processors() -> None:
    assert ours.cpu_count(logical=True) == psutil.cpu_count(logical=True)
    process = ours.Process()
    ours.cpu_percent()
    assert process.cpu_percent() == 0.0
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        pass
    assert process.cpu_percent() > 10
    assert 0 < ours.cpu_percent() <= 100


def test_processes_are_the_same_by_number_and_start() -> None:
    one, other = ours.Process(), ours.Process(os.getpid())
    assert one == other and hash(one) == hash(other)
    assert one != ours.Process(os.getppid())


def test_what_is_not_there_says_so() -> None:
    for use in (lambda: ours.disk_usage, lambda: ours.Process().open_files):
        with pytest.raises(NotImplementedError, match="stand-in"):
            use()
    with pytest.raises(ImportError, match="net_if_addrs"):
        ours.net_if_addrs()
