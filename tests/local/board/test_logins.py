"""An account that joins a group, and a board whose memory runs out: what its kernels then say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.boards import Board, wait_until
from tests.support.commands import LIMIT, rkernel
from tests.support.kernels import started
from tests.support.requirements import skip_or_fail

GROUP = "rk-video"
MEMORY = Path("/sys/fs/cgroup/memory")


@contextmanager
def group() -> Iterator[None]:
    """Make a group of this machine, for a time."""
    if os.geteuid() != 0:
        skip_or_fail("making a group needs root")
    subprocess.run(["groupadd", GROUP], check=True, timeout=LIMIT)
    try:
        yield
    finally:
        subprocess.run(["groupdel", "-f", GROUP], check=True, timeout=LIMIT)


def groups(kernel: object) -> str:
    return str(kernel.value("sorted(__import__('os').getgroups())"))  # type: ignore[attr-defined]


def test_an_account_that_joins_a_group(home: Board) -> None:
    """A login is a program that runs with the groups that the account has at that time."""
    with group():
        number = subprocess.check_output(["getent", "group", GROUP], text=True).split(":")[2]
        logins = []
        for name, options in {"before": [], "after": [f"--groups={number}"]}.items():
            command = " ".join(["setpriv", *(options or ["--clear-groups"])])
            via = ["--via", "command", "--command", command, "--python", sys.executable]
            run = rkernel("add", *via, "--name", name, "--no-check")
            assert (run.returncode, run.stderr) == (0, "")
            logins.append(via)
        before, after = logins
        with started(home, *before) as old:
            assert groups(old) == "[]"
            (agent,) = home.agents()
            with started(home, *after) as new:
                assert groups(new) == "[]", "an agent with a kernel was replaced"
                said = rkernel("ps", "after").stderr
                assert f"before the account was in {GROUP}" in said
            assert home.agents() == {agent} and old.value("6 * 7") == "42"
        with started(home, *after) as new:
            assert groups(new) == f"[{number}]"
            assert agent not in home.agents() and len(home.agents()) == 1
            run = rkernel("ps", "after")
            assert (run.returncode, run.stderr) == (0, "")


@contextmanager
def little_memory(limit: int) -> Iterator[Path]:
    """Make a control group of Linux whose processes get so many bytes of memory."""
    folder = MEMORY / f"rk-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(limit))
    except OSError:
        skip_or_fail("a limit on memory needs root and a control group")
    try:
        yield folder
    finally:
        wait_until(lambda: not (folder / "tasks").read_text(), "the control group is empty", LIMIT)
        folder.rmdir()


def test_a_kernel_that_linux_ends_for_lack_of_memory(home: Board) -> None:
    if not os.access("/dev/kmsg", os.R_OK):
        skip_or_fail("Linux's log cannot be read")
    with little_memory(300 << 20) as folder, started(home) as kernel:
        (pid,) = home.kernels()
        (folder / "cgroup.procs").write_text(str(pid))
        kernel.send("eaten = []\nwhile True: eaten.append(bytearray(b'x') * (1 << 20))")
        wait_until(lambda: not kernel.manager.is_alive(), "the launcher ends", LIMIT)
        assert (
            "was ended by Linux, because the board had no memory left" in kernel.stderr.read_text()
        )


def test_a_kernel_that_somebody_kills(home: Board) -> None:
    with started(home) as kernel:
        kernel.send("import os; os.kill(os.getpid(), 9)")
        wait_until(lambda: not kernel.manager.is_alive(), "the launcher ends", LIMIT)
        said = kernel.stderr.read_text()
        assert "was ended by signal 9 (SIGKILL)" in said
        assert ("memory" in said) is not os.access("/dev/kmsg", os.R_OK)
