"""The agent's lock beside a process that inherits what the agent has open."""

from __future__ import annotations

import subprocess
import sys

import pytest

from board_agent.common.agent_lock import AgentLock


@pytest.mark.usefixtures("home")
def test_the_lock_is_not_inherited() -> None:
    lock = AgentLock("c0de", "127.0.0.1:0")
    assert lock.acquire()
    command = [sys.executable, "-c", "print('runs', flush=True); input()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, close_fds=False) as child:
        assert child.stdout is not None and child.stdout.readline() == b"runs\n"
        lock.release()
        other = AgentLock("c0de", "127.0.0.1:0")
        assert other.acquire()
        other.clear()
        child.communicate(b"\n", timeout=30)
