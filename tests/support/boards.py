"""The boards that the tests run kernels on. The same tests run on each: Board has what differs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import ssh_settings

ROOT = Path(__file__).parents[2]
LIMIT = 30.0  # seconds for what takes a moment on this machine; see Board.slowness


@dataclass(frozen=True)
class Board:
    """A board, and this machine's side of it.

    `options` are the launcher's; `folder` is a short one on this machine for homes, connection
    files and the like; `environment` is a frontend's; `shell` runs a command on the board and
    returns its output; `runtime` is the folder of the agents there; `mark` is in the environment of
    the processes there that are ours; `slowness` is how much longer things may take there.
    """

    options: tuple[str, ...]
    folder: Path
    environment: dict[str, str]
    shell: Callable[[str], str]
    runtime: str
    mark: str = ""
    slowness: float = 1.0

    @property
    def limit(self) -> float:
        """Seconds for what takes a moment."""
        return LIMIT * self.slowness

    @property
    def specs(self) -> Path:
        """The folder of the kernelspecs on this machine."""
        return Path(self.environment["JUPYTER_DATA_DIR"], "kernels")

    def argv(self, *options: str) -> list[str]:
        """Return a kernelspec's argv for this board."""
        launcher = [sys.executable, "-m", "rkernel_launcher", *self.options, *options]
        return [*launcher, "-f", "{connection_file}"]

    def kernels(self) -> set[int]:
        """Return the process ids of all kernels on the board."""
        return self._running("board_agent.kernel")

    def agents(self) -> set[int]:
        """Return the process ids of all agents on the board."""
        return self._running("board_agent")

    def templates(self) -> set[int]:
        """Return the process ids of all processes on the board that kernels are forked from."""
        return self._running("board_agent.kernel.template")

    def parent(self, pid: int) -> int:
        """Return the parent of a process on the board."""
        return int(self.shell(f"cat /proc/{pid}/stat").rpartition(")")[2].split()[1])

    def agent_of(self, kernel: int) -> int:
        """Return the agent that a kernel belongs to: its parent, or its template's."""
        agents, pid = self.agents(), kernel
        while pid > 1 and pid not in agents:
            pid = self.parent(pid)
        return pid

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a process on the board a signal."""
        self.shell(f"kill -{int(number)} {pid}")

    def end_agents(self) -> None:
        """End all agents, and wait until they and their files are gone."""
        for pid in self.agents():
            self.signal(pid, signal.SIGTERM)
        left = f"find {self.runtime} -mindepth 1 2>/dev/null || true"
        wait_until(lambda: not self.agents(), "the agents end", self.limit)
        wait_until(lambda: not self.shell(left), "nothing is left of the agents", self.limit)

    def _running(self, module: str) -> set[int]:
        found = self.shell("grep -aH board_agent /proc/[0-9]*/cmdline 2>/dev/null || true")
        pids = set()
        for line in found.splitlines():
            path, _, arguments = line.partition(":")
            if arguments.split("\0")[1:3] == ["-m", module]:
                pids.add(int(path.split("/")[2]))
        return {pid for pid in pids if not self.mark or self._is_marked(pid)}

    def _is_marked(self, pid: int) -> bool:
        return bool(self.shell(f"grep -la '{self.mark}' /proc/{pid}/environ 2>/dev/null || true"))


@contextmanager
def local() -> Iterator[Board]:
    """Make this machine a board with a home of its own, for a time."""
    with tempfile.TemporaryDirectory(prefix="rk-", dir="/tmp") as name:
        folder = Path(name)
        board = Board(
            options=("--via", "local"),
            folder=folder,
            environment=environment(folder),
            shell=_local_shell,
            runtime=f"{folder}/run",
            mark=f"XDG_RUNTIME_DIR={folder}/run",
        )
        try:
            yield board
        finally:
            board.end_agents()
            wait_until(lambda: not _marked(board.mark), "no process of ours is left", LIMIT)


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which all that Jupyter and rkernel keep is in `folder`."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("JUPYTER", "JPY_", "IPYTHON", "PYTEST", "SSH_"))
    }
    for name in ("home", "run", "bin"):
        (folder / name).mkdir(mode=0o700)
    ssh_settings.give_home(folder / "bin" / "ssh", folder / "home")
    return {
        **kept,
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "HOME": f"{folder}/home",
        "IPYTHONDIR": f"{folder}/home/ipython",
        "JUPYTER_CONFIG_DIR": f"{folder}/home/jupyter/config",
        "JUPYTER_DATA_DIR": f"{folder}/home/jupyter/data",
        "JUPYTER_RUNTIME_DIR": f"{folder}/home/jupyter/run",
        "JUPYTER_PATH": "",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": f"{folder}/home/cache",
        "XDG_RUNTIME_DIR": f"{folder}/run",
    }


def write_spec(folder: Path, name: str, argv: list[str], **more: object) -> None:
    """Write a kernelspec to a folder of kernelspecs."""
    spec = {
        "argv": argv,
        "name": name,
        "display_name": f"{name} (board)",
        "language": "python",
        "interrupt_mode": "message",
        **more,
    }
    (folder / name).mkdir(parents=True)
    (folder / name / "kernel.json").write_text(json.dumps(spec))


def pss(shell: Callable[[str], str], pids: Iterable[int]) -> list[float]:
    """Return what processes of a board take, in MB: their proportional set sizes, see proc(5).

    Parameters: shell, which runs a command there. Those that have ended are left out.
    """
    files = " ".join(f"/proc/{pid}/smaps_rollup" for pid in pids)
    sizes = shell(f"cat {files} /dev/null 2>/dev/null | grep ^Pss: || true").splitlines()
    return [int(line.split()[1]) / 1024 for line in sizes]


def wait_until(condition: Callable[[], object], what: str, limit: float) -> None:
    """Wait until a condition holds; fail when it does not within `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {limit:.0f} s for: {what}")
        time.sleep(0.02)


def _local_shell(command: str) -> str:
    run = subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=60)
    return run.stdout.decode("utf-8", "replace")


def _marked(mark: str) -> list[str]:
    """Return the processes of this machine that have a mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            pass  # it has just ended, or is not ours to look at
    return found
